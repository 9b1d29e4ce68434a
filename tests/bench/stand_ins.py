"""Many nodes on one worker: stand-ins, each with an sshd port, a name, addresses, files and certificates of its own.

What a stand-in is asked runs in earnest on the worker, where the stand-in's own files lie at the usual places; in what
it prints the worker's name and addresses are the stand-in's. So the product finds as many nodes as there are
stand-ins, each as it should be, and each run costs what it costs on a real one: sshd, shell, Docker's client.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat

from deploys import x509
from deploys.facts import access
from deploys.x509 import Certificate, Pair
from tests.cluster import shown
from tests.cluster.cluster import BOOTSTRAP, Cluster, started_anew
from tests.cluster.product import Product, Run, assert_empty
from tests.cluster.waiting import until
from tests.lab.hosts import Host
from tests.lab.paths import KNOWN_HOSTS, SSH_KEY

PLACE = "/srv/stand-ins"
PKI = "/etc/kubernetes/pki"
DAYS = 365
SCRIPTS = Path(__file__).resolve().parent / "scripts"

CLUSTER_DATA: dict[str, object] = {"controller_manager_extra_args": {"node-monitor-grace-period": "24h"}}
"""Stand-ins have no kubelet that says it is alive."""


@dataclass(frozen=True)
class StandIn:
    """One of them: the n-th, from 1."""

    number: int

    @property
    def name(self) -> str:
        """Its node's name."""
        return f"s{self.number:02}"

    @property
    def address(self) -> str:
        """Its node's address; nobody is there."""
        return f"10.89.0.{110 + self.number}"

    @property
    def subnet(self) -> str:
        """Its part of the pod network, without the last number."""
        return f"10.1.{100 + self.number}"

    @property
    def port(self) -> int:
        """Where its sshd listens, at the worker's address."""
        return 2200 + self.number


@dataclass(frozen=True)
class Worker:
    """The worker that stands in for all of them."""

    host: Host
    subnet: str
    hardware: str
    """Address of its flannel.1, which leases tell other nodes."""

    def translate(self, text: str, to: StandIn) -> str:
        """A text of the worker's in a stand-in's name."""
        for pattern, ours in self._patterns(to):
            text = re.sub(rf"\b{pattern}", ours, text)
        return text

    def script(self, to: StandIn) -> str:
        """The same for sed."""
        return "".join(rf"s/\b{pattern}/{ours}/g" + "\n" for pattern, ours in self._patterns(to))

    def _patterns(self, to: StandIn) -> list[tuple[str, str]]:
        # whole words: elsewhere it may stand in the middle of an archive's base64
        return [
            (rf"{self.host.name}\b", to.name),
            (rf"{re.escape(self.host.address)}\b", to.address),
            (rf"{re.escape(self.subnet)}\.", f"{to.subnet}."),
            (rf"{self.hardware}\b", _mac(to)),
        ]


def inventory(path: Path, master: Host, worker: Host, count: int) -> Path:
    """An inventory of the master and `count` stand-ins."""
    known = path.with_suffix(".known-hosts")
    lines = KNOWN_HOSTS.read_text().splitlines()
    key = next(line.split(" ", 1)[1] for line in lines if line.startswith(f"{worker.address} "))
    ports = [stand_in.port for stand_in in _all(count)]
    known.write_text("\n".join([*lines, *(f"[{worker.address}]:{port} {key}" for port in ports)]) + "\n")
    common = {"ssh_user": "root", "ssh_key": str(SSH_KEY), "ssh_known_hosts_file": str(known)}
    masters = [(master.name, {**common, "ssh_hostname": master.address})]
    workers = [(s.name, {**common, "ssh_hostname": worker.address, "ssh_port": s.port}) for s in _all(count)]
    path.write_text(f"masters = {pformat(masters)}\nworkers = {pformat(workers)}\n")
    return path


def _all(count: int) -> list[StandIn]:
    return [StandIn(number) for number in range(1, count + 1)]


def settle(cluster: Cluster, product: Product, count: int) -> None:
    """Make stand-ins of the cluster's worker, and nodes of them; `product` has their inventory.

    :raises AssertionError: the product still has something to do there.
    """
    host = cluster.workers[0]
    first = re.search(r"^FLANNEL_SUBNET=(.*)\.1/24$", host.read("/var/lib/docker-multinode/subnet.env"), re.MULTILINE)
    assert first, f"{host.name} has no subnet"
    worker = Worker(host, first[1], host.read("/sys/class/net/flannel.1/address").strip())
    _write(host, {path: text for s in _all(count) for path, text in _seed(worker, s)})
    host.run("install -m 755 /dev/stdin /usr/local/sbin/stand-in", input=(SCRIPTS / "stand-in.sh").read_text())
    _mode(host, "work")
    ports = " ".join(str(s.port) for s in _all(count))
    host.run(f"bash -s {ports}", input=(SCRIPTS / "stand-ins.sh").read_text())
    _write(host, dict(_planned(product.plan().check(), count)))
    _write(host, dict(_certificates(cluster.master, count)))
    _join(cluster, worker, count)
    # what reads these files at its start has to be younger than they are
    host.run(f"docker restart -t 5 kubelet && {BOOTSTRAP} restart -t 5 flannel && {started_anew('kube-proxy')}")
    until("all nodes to be Ready", 120, cluster.ready)
    assert_empty(product.plan())


@contextmanager
def played_back(worker: Host, product: Product, count: int) -> Iterator[None]:
    """Meanwhile each stand-in gives the answers that it gives to a run of its own without work; `product` has their
    inventory."""
    try:
        _mode(worker, "record")
        for stand_in in _all(count):
            product.apply("cluster", f"--limit={stand_in.name}").check()
        _mode(worker, "replay")
        yield
    finally:
        _mode(worker, "work")


def _mode(worker: Host, mode: str) -> None:
    worker.run(f"echo {mode} >{PLACE}/mode")


def _write(host: Host, files: dict[str, str]) -> None:
    """Put files of root's on the host; keys for root alone."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(text.encode()), 0o600 if path.endswith((".key", ".pem")) else 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    host.run("tar -x -C /", input=packed.getvalue().decode())


def _seed(worker: Worker, to: StandIn) -> Iterator[tuple[str, str]]:
    """The record, without which the product would take the stand-in for an untouched host."""
    record = f"{PLACE}/{to.port}/record"
    for path in worker.host.run("cd /var/lib/docker-multinode && find . -type f").stdout.split():
        text = worker.host.read(f"/var/lib/docker-multinode/{path}")
        yield f"{record}/{path[2:]}", worker.translate(text, to)
    yield f"{PLACE}/{to.port}/translate", worker.script(to)
    for folder in ("kubernetes", "kubelet-pki", "answers"):
        yield f"{PLACE}/{to.port}/{folder}/.keep", ""


def _planned(plan: Run, count: int) -> Iterator[tuple[str, str]]:
    """The files that the product would write there."""
    for to in _all(count):
        for path, lines in shown.files(plan, to.name).items():
            assert path.startswith("/etc/kubernetes/"), f"{to.name} should have {path} already"
            yield _place(to, path), "\n".join(lines) + "\n"


def _place(to: StandIn, path: str) -> str:
    """Where a file of a stand-in really lies."""
    return path.replace("/etc/kubernetes", f"{PLACE}/{to.port}/kubernetes")


def _certificates(master: Host, count: int) -> Iterator[tuple[str, str]]:
    pairs = {
        path: Pair(master.read(path + ".crt"), master.read(path + ".key")) for path in (f"{PKI}/ca", f"{PKI}/etcd/ca")
    }
    for to in _all(count):
        kubelet = f"system:node:{to.name}"
        names = (to.name, to.address)
        for path, pair in pairs.items():
            yield _place(to, f"{path}.crt"), pair.certificate
        for wanted in (
            Certificate(f"{PKI}/etcd/flannel-client", f"{PKI}/etcd/ca", access.FLANNEL, (to.name,)),
            Certificate(f"{PKI}/kubelet", f"{PKI}/ca", kubelet, ("system:nodes",), names, ("server",)),
            Certificate(f"{PKI}/kube-proxy/client", f"{PKI}/ca", "system:kube-proxy"),
        ):
            issued = x509.issue(wanted, pairs[wanted.signer], DAYS)
            yield _place(to, f"{wanted.path}.crt"), issued.certificate
            yield _place(to, f"{wanted.path}.key"), issued.key
        client = x509.issue(Certificate("", f"{PKI}/ca", kubelet, ("system:nodes",)), pairs[f"{PKI}/ca"], DAYS)
        yield f"{PLACE}/{to.port}/kubelet-pki/kubelet-client-current.pem", client.certificate + client.key


def _join(cluster: Cluster, worker: Worker, count: int) -> None:
    """Subnets in etcd, nodes in the API; no pod is put on them."""
    puts = []
    for to in _all(count):
        lease = {"PublicIP": to.address, "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC": _mac(to)}}
        puts.append(f"put /docker-multinode/subnets/{to.subnet}.0-24 {to.name}")
        puts.append(f"put /coreos.com/network/subnets/{to.subnet}.0-24 {shlex.quote(json.dumps(lease))}")
    tls = f"--cacert {PKI}/etcd/ca.crt --cert {PKI}/etcd/healthcheck-client.crt --key {PKI}/etcd/healthcheck-client.key"
    script = "".join(f"{BOOTSTRAP} exec etcd etcdctl {tls} {words}\n" for words in puts)
    cluster.master.run(f"set -e\n{script}")
    nodes: Sequence[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": to.name}, "spec": {"unschedulable": True}}
        for to in _all(count)
    ]
    cluster.apply(*nodes)
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "StandIn"}]}}
    names = [to.name for to in _all(count)]
    cluster.kubectl(
        "patch", "node", *names, "--subresource=status", "--type=merge", "-p", json.dumps(ready), timeout=120
    )


def _mac(to: StandIn) -> str:
    return f"02:00:00:00:00:{to.number:02x}"
