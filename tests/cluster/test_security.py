"""What is open, who is answered, and where keys and tokens are not."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.lab.hosts import Host
from tests.lab.paths import CACHE

from .cluster import BOOTSTRAP, KUBECTL, Cluster
from .product import Run

pytestmark = pytest.mark.core

EVERY_NODE = {"tcp 22", "tcp 10250", "udp 8472"}
MASTER = {"tcp 6443", "tcp 2379"}
"""What may listen on more than loopback, besides what users publish."""

ANONYMOUS = ("/livez", "/readyz", "/healthz", "/version")


def test_nothing_else_listens_beyond_loopback(cluster: Cluster) -> None:
    for host in cluster.hosts:
        allowed = EVERY_NODE | (MASTER if host is cluster.master else set())
        found = _listening(host)
        assert found <= allowed, f"{host.name}: {found - allowed}"
        assert found >= allowed - {"udp 8472"}


def _listening(host: Host) -> set[str]:
    published = set()
    for line in host.run("docker ps --format '{{.Ports}}'").stdout.splitlines():
        published |= {f"tcp {port}" for port in re.findall(r":(\d+)->", line)}
    found = set()
    for line in host.run("ss -Hltnu | awk '{print $1, $5}'").stdout.splitlines():
        protocol, _, place = line.partition(" ")
        address, _, port = place.rpartition(":")
        if not address.startswith(("127.", "[::1]")):
            found.add(f"{protocol} {port}")
    return found - published


@pytest.mark.parametrize("path", ANONYMOUS)
def test_health_and_version_are_for_everyone(path: str, cluster: Cluster) -> None:
    assert _status(f"https://{cluster.master.address}:6443{path}") == 200


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/metrics", "/api/v1/nodes", "/api/v1/secrets", "/openapi/v3",
                                  "/logs", "/.well-known/openid-configuration", "/livez/ping"])  # fmt: skip
def test_everything_else_of_the_api_is_not(path: str, cluster: Cluster) -> None:
    assert _status(f"https://{cluster.master.address}:6443{path}") in (401, 403)


@pytest.mark.parametrize("path", ["/pods", "/metrics", "/healthz", "/exec/default/x/y", "/runningpods/", "/configz"])
def test_the_kubelet_answers_nobody_unknown(path: str, cluster: Cluster) -> None:
    for host in cluster.hosts:
        assert _status(f"https://{host.address}:10250{path}") in (401, 403)


def test_etcd_wants_a_client_certificate(cluster: Cluster) -> None:
    pki, address = "/etc/kubernetes/pki", cluster.master.address
    own = f"--cacert {pki}/etcd/ca.crt --cert {pki}/etcd/server.crt --key {pki}/etcd/server.key"
    other = f"--cacert {pki}/etcd/ca.crt --cert {pki}/apiserver.crt --key {pki}/apiserver.key"
    curl = f"curl -sS --http1.1 -m 5 https://{address}:2379/version"
    assert "etcdserver" in cluster.master.run(f"{curl} {own}").stdout
    for stranger in ("-k", other):
        done = cluster.master.run(f"{curl} {stranger}", check=False)
        assert (done.returncode != 0, done.stdout) == (True, "")


def test_nobody_is_etcds_peer(cluster: Cluster) -> None:
    """A peer may write in the name of root, whatever rights a node's certificate has as a client."""
    pki = "/etc/kubernetes/pki/etcd"
    for host, address in ((cluster.workers[0], cluster.master.address), (cluster.master, "127.0.0.1")):
        curl = f"curl -sS --http1.1 -m 5 --cacert {pki}/ca.crt https://{address}:2380/members"
        for name in ("flannel-client", "peer"):
            words = f"{curl} --cert {pki}/{name}.crt --key {pki}/{name}.key"
            done = host.run(words, check=False)
            is_itself = host is cluster.master and name == "peer"
            assert (done.returncode == 0, "peerURLs" in done.stdout) == (is_itself, is_itself), done.stderr


def test_a_token_of_a_pod_reads_no_secret(cluster: Cluster) -> None:
    token = cluster.kubectl("create", "token", "default").strip()
    header = f"Authorization: Bearer {token}"
    assert _status(f"https://{cluster.master.address}:6443/api/v1/secrets", header) == 403
    for host in cluster.hosts:
        assert _status(f"https://{host.address}:10250/pods", header) == 403


def test_a_node_reads_what_is_another_nodes_not(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    kubectl = KUBECTL.replace("super-admin.conf", "kubelet.conf")
    label = f"label node {cluster.master.name} taken=over"
    assert worker.run(f"{kubectl} get node {worker.name}", check=False).returncode == 0
    cluster.kubectl("create", "secret", "generic", "elsewhere", "--from-literal=a=b")
    try:
        for words in ("-n default get secret elsewhere", "get secrets -A"):
            done = worker.run(f"{kubectl} {words}", check=False)
            assert done.returncode != 0, words
            assert "orbidden" in done.stderr, words
    finally:
        cluster.kubectl("delete", "secret", "elsewhere")
    done = worker.run(f"{kubectl} {label}", check=False)
    assert done.returncode != 0
    assert "is not allowed to modify" in done.stderr or "orbidden" in done.stderr


def _status(url: str, *headers: str) -> int:
    words = [word for header in headers for word in ("-H", header)]
    command = ("curl", "-ks", "-m", "10", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", *words, url)
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


# ---- where keys are, and where they are not


def secrets(host: Host) -> dict[str, str]:
    """Path of each key on a host → a piece of it, as it would be seen in a listing, a log or a file."""
    command = (
        "grep -rlI 'PRIVATE KEY' /etc /var/lib/kubelet/pki /var/lib/docker-multinode /root /home /opt 2>/dev/null "
        "| grep -v ^/etc/ssh | while read -r f; do echo \"$f $(grep -A2 'PRIVATE KEY' $f | sed -n 2p)\"; done"
    )
    found = dict(line.split(" ", 1) for line in host.run(command).stdout.splitlines())
    assert found
    return {path: piece[-40:] for path, piece in found.items()}


def tokens(host: Host) -> dict[str, str]:
    """Path of each token that the kubelet gave a pod on a host → the token."""
    places = "/var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*/token"
    command = f'for f in {places}; do [ ! -e "$f" ] || echo "$f $(cat "$f")"; done'
    lines = (line.partition(" ") for line in host.run(command).stdout.splitlines())
    return {path: token for path, _, token in lines if token}


def pieces(host: Host) -> dict[str, str]:
    """Path of each key and token on a host → a piece of it."""
    return {**secrets(host), **{path: token[-40:] for path, token in tokens(host).items()}}


def forms(piece: str) -> list[str]:
    """A piece of a key as text, and as base64 of that text in each of its three alignments."""
    encoded = [base64.b64encode(b"x" * shift + piece.encode()).decode()[4:48] for shift in range(3)]
    return [piece, *encoded]


def shows(text: str, piece: str) -> bool:
    """Whether a piece of a key is in a text, in one of its forms."""
    return any(form in text for form in forms(piece))


def test_keys_are_in_their_files_only_and_for_root_only(cluster: Cluster) -> None:
    for host in cluster.hosts:
        paths = sorted(secrets(host))
        found = host.run(f"stat -L -c '%a %u:%g %n' {shlex.join(paths)}").stdout.splitlines()
        assert found == [f"600 0:0 {path}" for path in paths]
        strange = [path for path in paths if not path.startswith(("/etc/kubernetes/pki/", "/var/lib/kubelet/pki/"))]
        assert strange == []


LOOKS = (
    "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
    "docker inspect $(docker ps -aq)",
    f"{BOOTSTRAP} inspect $({BOOTSTRAP} ps -aq)",
    "docker image inspect $(docker images -q)",
    "cat /var/lib/docker-multinode/* /var/lib/docker-multinode/*/* 2>/dev/null",
    "journalctl -q --no-pager",
    "for c in $(docker ps -aq); do docker logs $c 2>&1; done",
    f"for c in $({BOOTSTRAP} ps -aq); do {BOOTSTRAP} logs $c 2>&1; done",
    "find /tmp /var/tmp /run -xdev -type f -size -1024k -not -path '/run/log/*' -not -path '/run/credentials/*' "
    "-exec cat {} + 2>/dev/null",
)
"""Each prints something on every node."""
PLANTED = "/root/planted.key"


@contextmanager
def _planted(host: Host) -> Iterator[None]:
    """A key that is no cluster's, and a copy of it where none may be: a search that works finds that one."""
    body = base64.b64encode(os.urandom(48)).decode()
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    try:
        for path in (PLANTED, "/tmp/planted"):
            host.write(path, key)
        yield
    finally:
        host.run(f"rm -f {PLANTED} /tmp/planted")


@pytest.mark.promise("no-secret-leaks")
def test_no_key_is_in_a_command_line_an_environment_or_docker_inspect(cluster: Cluster) -> None:
    for host in cluster.hosts:
        with _planted(host):
            seen = {look: host.run(look, check=False, timeout=120).stdout for look in LOOKS}
            assert [look for look in LOOKS if not seen[look]] == [], f"{host.name}: nothing was seen by these"
            assert _found(host, "".join(seen.values())) == [PLANTED], f"{host.name}: only this one is to be found"


def _found(host: Host, seen: str) -> list[str]:
    """Paths of a host's keys and tokens of which a piece is in a text."""
    return [path for path, piece in pieces(host).items() if shows(seen, piece)]


def _assert_absent(host: Host, seen: str) -> None:
    assert _found(host, seen) == [], f"{host.name}: these are seen"


def test_a_workers_disk_has_no_key_of_an_authority(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    for name in ("ca", "etcd/ca", "front-proxy-ca", "sa"):
        assert worker.run(f"test -e /etc/kubernetes/pki/{name}.key", check=False).returncode != 0


SEEN = "/dev/shm/seen"
WRITES = "base64 -d | tar -xzpmf"
"""In the commands that write keys."""


SLOW_TAR = '#!/bin/sh\nsleep 1\nexec /usr/bin/tar "$@"\n'
"""So that what writes the keys lives long enough to be seen."""


@pytest.fixture(scope="module")
def loud_run(cluster: Cluster) -> Run:
    """A run that issues all certificates again, with all that pyinfra can print; the hosts' processes are watched."""
    # on the shell's own loop: a command that lives for some milliseconds is not in what stands there afterwards
    watch = (
        f"touch {SEEN}.go; while [ -e {SEEN}.go ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; "
        f"sleep 0.2; done | tr '\\0' '\\n' | awk '!seen[$0]++' > {SEEN}"
    )
    for host in cluster.hosts:
        host.write("/usr/local/bin/tar", SLOW_TAR)
        host.run(f"chmod 755 /usr/local/bin/tar; systemd-run -q --unit=watch sh -c {shlex.quote(watch)}")
    try:
        return cluster.product.run("cluster", "-y", "-vvv", "--diff", data={"renew_certificates": True}).check()
    finally:
        for host in cluster.hosts:
            host.run(f"rm -f {SEEN}.go /usr/local/bin/tar; while systemctl is-active -q watch; do sleep 0.1; done")


@pytest.mark.promise("no-secret-leaks")
def test_no_key_is_in_a_command_line_or_an_environment_while_it_is_made(cluster: Cluster, loud_run: Run) -> None:
    for host in cluster.hosts:
        seen = host.read(SEEN)
        assert WRITES in seen, "the commands that write the keys were not seen"
        _assert_absent(host, seen)
        _assert_absent(host, "".join(_decoded(seen)))
        host.run(f"rm {SEEN}")


@pytest.mark.promise("no-secret-leaks")
def test_the_loudest_output_holds_no_key(cluster: Cluster, loud_run: Run) -> None:
    assert len(loud_run.text) > 10000
    assert any(tokens(host) for host in cluster.hosts), "there are no tokens to look for"
    assert "PRIVATE KEY" not in re.sub(r"['\"/]-?[^\n]*BEGIN[^\n]*", "", loud_run.text)
    for host in cluster.hosts:
        _assert_absent(host, loud_run.text)
        _assert_absent(host, "".join(_decoded(loud_run.text)))


@pytest.mark.promise("no-secret-leaks")
def test_the_key_that_a_kubeconfig_holds_is_in_no_output(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    run = cluster.product.run("kubeconfig", "-y", "-vvv", "--diff", data={"kubeconfig_path": str(path)}).check()
    key = base64.b64decode(yaml.safe_load(path.read_text())["users"][0]["user"]["client-key-data"]).decode()
    path.unlink()
    for text in (run.text, "".join(_decoded(run.text))):
        _assert_absent(cluster.master, text)
        assert not any(shows(text, line) for line in key.splitlines() if len(line) == 64)


def _decoded(text: str) -> list[str]:
    """Everything in a text that is base64, of gzipped data too, as it was before."""
    import gzip

    found = []
    for word in re.findall(r"(?:[A-Za-z0-9+/=]{60,}\s*)+", text):
        try:
            data = base64.b64decode(re.sub(r"\s", "", word) + "==")
            found.append(gzip.decompress(data).decode("latin1") if data[:2] == b"\x1f\x8b" else data.decode("latin1"))
        except (ValueError, OSError, EOFError):
            continue
    return found


@pytest.mark.promise("no-secret-leaks")
def test_no_key_stays_on_the_control_machine(cluster: Cluster, loud_run: Run) -> None:
    wanted = [form for host in cluster.hosts for piece in pieces(host).values() for form in forms(piece)]
    places = " ".join(map(str, (cluster.product.cwd, cluster.product.inventory.parent, "/tmp", Path.home())))
    others = f"-name .git -o -path {CACHE}"  # the lab's hosts have their disks in its cache
    # what changed since shortly before that run
    files = f"find {places} -xdev \\( {others} \\) -prune -o -type f -size -4096k -mmin -10 -print0 2>/dev/null"
    command = f"p=$(mktemp -p /dev/shm); cat > $p; {files} | xargs -0 -r grep -lFf $p; rm $p"
    planted = cluster.product.inventory.parent / "planted"  # a search that works finds that one
    planted.write_text(wanted[-1])
    try:
        done = subprocess.run(command, shell=True, input="\n".join(wanted), capture_output=True, text=True, check=False)
    finally:
        planted.unlink()
    assert set(done.stdout.splitlines()) == {str(planted)}, "keys are there, or none is found where one is"


def test_no_secret_of_a_service_account_lies_in_the_api(cluster: Cluster) -> None:
    found = [s for s in cluster.get("secrets", "-A") if s["type"] == "kubernetes.io/service-account-token"]
    assert [s["metadata"]["name"] for s in found] == []


def test_pods_of_ours_that_need_no_power_have_none(cluster: Cluster) -> None:
    pods = cluster.get("pods", "-n", "kube-system")
    privileged = {
        p["metadata"]["name"]
        for p in pods
        for c in p["spec"]["containers"]
        if (c.get("securityContext") or {}).get("privileged")
    }
    assert privileged == {f"kube-proxy-{host.name}" for host in cluster.hosts}, json.dumps(sorted(privileged))
