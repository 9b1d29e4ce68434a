"""What somebody changed behind our back: the plan names it, the apply mends it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .cluster import BOOTSTRAP, ETCDCTL, KUBECTL, Cluster, container_of, started_anew
from .conftest import WORKER
from .product import assert_empty

MANIFESTS = "/etc/kubernetes/manifests"
UNITS = "/etc/systemd/system"


@dataclass(frozen=True)
class Drift:
    """Something that is done on a host, words of the plan's lines that name it, and what shows that it was mended."""

    role: str
    done: str
    named: tuple[str, ...]
    unknown: str = ""
    """Words of a line that says what the plan can't know."""
    mended: str = "true"
    """A command that fails on the host where something still runs with it."""

    @property
    def words(self) -> str:
        """What a failing test is called."""
        return f"{self.role}: {self.done[:70]}"


CORE = (
    Drift("worker", "docker stop -t 1 kubelet", ("start container kubelet",)),
    Drift("master", f"rm {MANIFESTS}/kube-scheduler.yaml", (f"create {MANIFESTS}/kube-scheduler.yaml",)),
    Drift("worker", "chmod 644 /etc/kubernetes/pki/kube-proxy/client.key", ("kube-proxy/client.key", "600")),
)
MORE = (
    Drift("master", f"{BOOTSTRAP} stop etcd", ("start container etcd",)),
    Drift("worker", f"{BOOTSTRAP} rm -f flannel", ("create container flannel",)),
    Drift("master", "docker rm -f kubelet", ("create container kubelet",)),
    Drift("worker", f"sed -i s/RestartSec=2/RestartSec=9/ {UNITS}/docker-bootstrap.service",
          ("-RestartSec=9", "+RestartSec=2")),
    Drift("worker", f"echo '# theirs' >> {UNITS}/docker.service.d/zz-docker-multinode.conf", ("-# theirs",)),
    Drift("worker", f"rm {UNITS}/docker.service.d/zz-docker-multinode.conf", ("zz-docker-multinode.conf",)),
    Drift("worker", "systemctl stop docker-bootstrap", ("start the bootstrap daemon",), "whether container flannel is"),
    Drift("master", "systemctl stop docker-bootstrap", ("start the bootstrap daemon",), "whether container etcd is"),
    Drift("worker", "systemctl disable docker-bootstrap", ("enable the bootstrap daemon",)),
    Drift("master", f"sed -i s/--leader-elect=true/--leader-elect=false/ {MANIFESTS}/kube-scheduler.yaml",
          ("--leader-elect=true",)),
    Drift("master", "chown lab /etc/kubernetes/pki/ca.key", ("/etc/kubernetes/pki/ca.key", "0:0")),
    Drift("master", "chmod 644 /etc/kubernetes/pki/sa.key", ("/etc/kubernetes/pki/sa.key", "600")),
    Drift("worker", "rm /etc/kubernetes/pki/kubelet.crt", ("issue /etc/kubernetes/pki/kubelet.crt",)),
    Drift("worker", "rm /var/lib/kubelet/pki/kubelet-client-current.pem",
          ("issue /var/lib/kubelet/pki/kubelet-client-current.pem",)),
    Drift("master", "sysctl -qw net.ipv4.ip_forward=0", ("net.ipv4.ip_forward: 0 -> 1",)),
    Drift("master", f"{ETCDCTL} del /docker-multinode/subnets/10.1.2.0-24", ("Will reserve 10.1.2.0/24",)),
    Drift("master", f"{ETCDCTL} del /coreos.com/network/config", ("flannel's network",)),
    Drift("worker", "sed -i s/10.1.2.1/10.1.99.1/ /run/flannel/subnet.env", ("/run/flannel/subnet.env",)),
    Drift("master", f"{KUBECTL} -n kube-system delete service kube-dns", ("kube-dns",)),
    Drift("master", f"{KUBECTL} -n kube-system delete deployment metrics-server", ("metrics-server",)),
)  # fmt: skip

DRIFT = "DRIFT=1"


def _not_in_process(unit: str) -> str:
    return f"! tr '\\0' '\\n' < /proc/$(systemctl show {unit} -p MainPID --value)/environ | grep -qx {DRIFT}"


def _not_in_pod(program: str, path: str, text: str) -> str:
    return f"! grep -qF '{text}' /proc/$(docker inspect -f '{{{{.State.Pid}}}}' $({container_of(program)}))/root{path}"


CONFIG = "/etc/kubernetes"
READ_AT_START = (
    Drift("worker", f"echo 'maxPods: 77' >> {CONFIG}/kubelet.yaml && docker restart -t 5 kubelet",
          ("-maxPods: 77", "restart container kubelet"),
          mended=f"docker exec kubelet kubectl --kubeconfig {CONFIG}/kubelet.conf get node {WORKER} "
          "-o jsonpath='{.status.capacity.pods}' | grep -qx 110"),
    Drift("worker", f"sed -i '/^.Service/a Environment={DRIFT}' {UNITS}/docker-bootstrap.service && "
          "systemctl daemon-reload && systemctl restart docker-bootstrap",
          (f"-Environment={DRIFT}", "restart the bootstrap daemon"), mended=_not_in_process("docker-bootstrap")),
    Drift("worker", f"echo 'Environment={DRIFT}' >> {UNITS}/docker.service.d/zz-docker-multinode.conf && "
          "systemctl daemon-reload", (f"-Environment={DRIFT}", "let systemd read docker's unit again"),
          mended=f"! systemctl show docker -p Environment | grep -q {DRIFT}"),
    Drift("worker", f"echo 'configSyncPeriod: 9m0s' >> {CONFIG}/kube-proxy.yaml && {started_anew('kube-proxy')}",
          ("-configSyncPeriod: 9m0s", "restart kube-proxy"),
          mended=_not_in_pod("kube-proxy", f"{CONFIG}/kube-proxy.yaml", "configSyncPeriod")),
    Drift("master", f"echo '  - path: /api' >> {CONFIG}/authentication.yaml",
          ("-  - path: /api", "restart kube-apiserver"),
          mended=_not_in_pod("kube-apiserver", f"{CONFIG}/authentication.yaml", "path: /api")),
)  # fmt: skip
"""Edited files that a program read at its start, or has mounted: to write the file as it was is not enough."""


@pytest.mark.parametrize(
    "drift",
    [
        *(pytest.param(d, id=d.words, marks=pytest.mark.core) for d in CORE),
        *(pytest.param(d, id=d.words) for d in (*MORE, *READ_AT_START)),
    ],
)
def test_drift_is_named_and_mended(drift: Drift, cluster: Cluster) -> None:
    host = cluster.master if drift.role == "master" else cluster.workers[0]
    host.run(drift.done)
    plan = cluster.product.plan().check()
    assert plan.changes
    for words in filter(None, (*drift.named, drift.unknown)):
        assert any(words in line for line in plan.diff), f"not named: {words}\n" + "\n".join(plan.diff)
    # what is unknown is not announced as made anew
    assert not drift.unknown or not any("Will create container" in line for line in plan.diff)
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())
    cluster.wait_works()
    host.run(drift.mended)


def test_a_rule_that_somebody_flushed_is_set_again(cluster: Cluster) -> None:
    rules = "iptables -S DOCKER-USER | grep -e '--comment docker-multinode '"
    before = [sorted(host.run(rules).stdout.splitlines()) for host in cluster.hosts]
    assert all(len(lines) == 3 for lines in before)
    for host in cluster.hosts:
        host.run(f"{rules} | sed 's/^-A/iptables -w -D/' | sh", check=False)
    plan = cluster.product.plan().check()
    assert all(f"{host.name}] Will set rules of iptables that" in plan.text for host in cluster.hosts)
    cluster.product.apply().check()
    assert [sorted(host.run(rules).stdout.splitlines()) for host in cluster.hosts] == before
    assert_empty(cluster.product.plan())
    cluster.wait_works()


def test_a_field_that_someone_else_took_is_named_and_left(cluster: Cluster) -> None:
    scale = f"{KUBECTL} -n kube-system scale deployment coredns"
    cluster.master.run(f"{scale} --replicas=1")
    try:
        plan = cluster.product.plan()
        assert_empty(plan)
        left = "Will leave .spec.replicas of Deployment kube-system/coredns as kubectl has set it"
        assert any(left in line for line in plan.diff)
        cluster.product.apply().check()
        assert cluster.get("deployment", "-n", "kube-system", "coredns")[0]["spec"]["replicas"] == 1
    finally:
        cluster.master.run(f"{scale} --replicas=2")
        cluster.wait_works()
    assert_empty(cluster.product.plan())


def test_a_new_pod_gets_the_resolv_conf_that_the_host_has_now(cluster: Cluster) -> None:
    """A DHCP client replaces the file by a rename."""
    worker = cluster.workers[0]
    kept = "/run/resolv.conf.mounted"
    # a file that is a mount, as the lab's is, can't be replaced
    away = f"touch {kept}; mount --bind /etc/resolv.conf {kept}; umount /etc/resolv.conf"
    back = f"mount --bind {kept} /etc/resolv.conf; umount {kept}; rm {kept}"
    before = worker.run(f"cat /etc/resolv.conf; {away}").stdout
    rename = "cat > /etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf"
    client = {"name": "client", "image": cluster.node_image(), "command": ["sleep", "3600"]}
    spec = {"nodeName": worker.name, "dnsPolicy": "Default", "containers": [client]}
    try:
        worker.run(rename, input=f"{before}search moved.lan\n")
        cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "resolving"}, "spec": spec})
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=50s", "pod", "resolving")
        assert "search moved.lan" in cluster.in_pod(worker, "resolving", "cat /etc/resolv.conf")
    finally:
        worker.run(f"{rename}; {back}", input=before)
        cluster.delete("pod", "resolving")


@pytest.mark.parametrize(("role", "then"), [("worker", "true"), ("master", "systemctl start docker.socket")])
def test_a_main_docker_that_was_stopped_is_a_sentence_and_stays_so(role: str, then: str, cluster: Cluster) -> None:
    host = cluster.master if role == "master" else cluster.workers[0]
    host.run(f"systemctl stop docker.socket docker && {then}")
    try:
        plan = cluster.product.plan()
        assert plan.code == 1
        assert f"{host.name}: Docker does not answer; look with: systemctl status docker" in plan.stderr
        # its socket would start it for any question
        assert host.run("systemctl is-active docker", check=False).stdout.strip() == "inactive"
    finally:
        host.run("systemctl start docker.socket docker")
    cluster.wait_works()
    assert_empty(cluster.product.plan())
