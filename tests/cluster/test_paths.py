"""Who reaches whom: every path, in both directions where it crosses nodes; and the paths of volumes on a host."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host

from .cluster import GET, HOST_PORT, KUBECTL, NODE_PORT, Cluster, pod, web

pytestmark = pytest.mark.core

PLAIN = "plain"
"""A container of the user's own, by docker run, on each host."""


@dataclass(frozen=True)
class Ends:
    """The two ends of a path."""

    cluster: Cluster
    here: Host
    there: Host

    def pod(self, command: str) -> str:
        """Run it in the pod here."""
        return self.cluster.in_pod(self.here, web(self.here), command)

    def pod_address(self, host: Host) -> str:
        """Address of the web pod on a host."""
        return self.cluster.address(web(host))

    def plain_address(self, host: Host) -> str:
        """Address of the plain container on a host."""
        return host.run(f"docker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' {PLAIN}").stdout.strip()

    def plain(self, command: str) -> str:
        """Run it in the plain container here."""
        return self.here.run(f"docker exec {PLAIN} bash -c '{command}'").stdout


def _name(command: Callable[[str], str], *targets: str) -> set[str]:
    return {command(f"{GET} http://{target}/name").strip() for target in targets}


def _many(command: Callable[[str], str], target: str) -> set[str]:
    return set(command(f"for i in $(seq 24); do {GET} http://{target}/name; done").split())


def pod_to_pod(e: Ends) -> None:
    assert _name(e.pod, f"{e.pod_address(e.there)}:8080") == {web(e.there)}


def pod_to_pod_on_the_same_node(e: Ends) -> None:
    assert _name(e.pod, f"{e.pod_address(e.here)}:8080") == {web(e.here)}


def pod_to_pod_keeps_its_own_address(e: Ends) -> None:
    seen = e.pod(f"{GET} http://{e.pod_address(e.there)}:8080/cgi-bin/from").strip()
    assert seen.strip("[]").removeprefix("::ffff:") == e.pod_address(e.here)


def pod_to_pod_with_much_data(e: Ends) -> None:
    assert e.pod(f"{GET} http://{e.pod_address(e.there)}:8080/big | wc -c").strip() == str(4 << 20)


def pod_to_service_with_pods_on_both_nodes(e: Ends) -> None:
    assert _many(e.pod, "web:8080") == {web(e.here), web(e.there)}


def pod_to_service_of_the_other_node(e: Ends) -> None:
    assert _name(e.pod, f"{web(e.there)}.default.svc.cluster.local:8080") == {web(e.there)}


def pod_to_itself_through_its_own_service(e: Ends) -> None:
    assert _name(e.pod, f"{web(e.here)}:8080") == {web(e.here)}


def pod_to_dns(e: Ends) -> None:
    assert e.pod("getent ahostsv4 kubernetes.default.svc.cluster.local").split()[0] == "10.96.0.1"
    assert e.pod("getent ahostsv4 kubernetes").split()[0] == "10.96.0.1"


def pod_to_the_api_by_its_service(e: Ends) -> None:
    assert e.pod("curl -ksS -m 5 https://kubernetes.default/livez") == "ok"


def host_to_pod(e: Ends) -> None:
    targets = [f"{e.pod_address(host)}:8080" for host in (e.here, e.there)]
    assert _name(lambda command: e.here.run(command).stdout, *targets) == {web(e.here), web(e.there)}


def host_to_service(e: Ends) -> None:
    address = e.cluster.get("service", web(e.there))[0]["spec"]["clusterIP"]
    assert _name(lambda command: e.here.run(command).stdout, f"{address}:8080") == {web(e.there)}


def plain_container_to_pod(e: Ends) -> None:
    assert _name(e.plain, f"{e.pod_address(e.there)}:8080") == {web(e.there)}


def plain_container_to_service(e: Ends) -> None:
    address = e.cluster.get("service", "web")[0]["spec"]["clusterIP"]
    assert _many(e.plain, f"{address}:8080") == {web(e.here), web(e.there)}


def pod_to_plain_container(e: Ends) -> None:
    assert e.pod(f"{GET} http://{e.plain_address(e.there)}:7000/here").strip() == e.there.name


def plain_container_to_plain_container(e: Ends) -> None:
    assert e.plain(f"{GET} http://{e.plain_address(e.there)}:7000/here").strip() == e.there.name


def node_port_through_this_node(e: Ends) -> None:
    names = {_outside(e.here, NODE_PORT) for _ in range(24)}
    assert names == {web(e.here), web(e.there)}


def node_port_from_the_other_host(e: Ends) -> None:
    assert _many(lambda c: e.here.run(c).stdout, f"{e.there.address}:{NODE_PORT}") == {web(e.here), web(e.there)}


def node_port_from_a_pod(e: Ends) -> None:
    assert _many(e.pod, f"{e.there.address}:{NODE_PORT}") == {web(e.here), web(e.there)}


def host_port_from_outside(e: Ends) -> None:
    assert _outside(e.here, HOST_PORT) == web(e.here)


def host_port_from_a_pod(e: Ends) -> None:
    assert _name(e.pod, f"{e.there.address}:{HOST_PORT}", f"{e.here.address}:{HOST_PORT}") == {
        web(e.there),
        web(e.here),
    }


def published_port_of_a_plain_container(e: Ends) -> None:
    assert e.pod(f"{GET} http://{e.there.address}:7001/here").strip() == e.there.name


def exec_by_kubectl(e: Ends) -> None:
    words = ("exec", "-i", web(e.there), "-c", "main", "--", "sh", "-c", "read x; hostname; echo $x")
    assert e.cluster.kubectl(*words, input="typed\n").split() == [web(e.there), "typed"]


def logs_followed_by_kubectl(e: Ends) -> None:
    # a line a second: more than what was there at the start must come
    have = e.cluster.kubectl("logs", web(e.there), "-c", "main").count("line ")
    command = f"timeout 6 {KUBECTL} logs -f {web(e.there)} -c main --tail=-1"
    assert e.cluster.master.run(command, check=False).stdout.count("line ") >= have + 3


def attach_by_kubectl(e: Ends) -> None:
    command = f"timeout 5 {KUBECTL} attach {web(e.there)} -c main"
    assert "line " in e.cluster.master.run(command, check=False).stdout


def port_forward_by_kubectl(e: Ends) -> None:
    forward = KUBECTL.replace("kubelet kubectl", "kubelet timeout 5 kubectl")
    port = 18990 + e.cluster.hosts.index(e.there)
    command = (
        f"{forward} port-forward pod/{web(e.there)} {port}:8080 >/dev/null 2>&1 & "
        f"for i in $(seq 40); do {GET} http://127.0.0.1:{port}/name 2>/dev/null && exit; sleep 0.1; done; exit 1"
    )
    assert e.cluster.master.run(command).stdout.strip() == web(e.there)


def copy_by_kubectl(e: Ends) -> None:
    pod, master = f"{web(e.there)}:/tmp/copied", e.cluster.master
    master.run("docker exec kubelet bash -c 'seq 50000 > /tmp/origin; rm -f /tmp/back'")
    master.run(f"{KUBECTL} cp /tmp/origin {pod} -c client && {KUBECTL} cp {pod} /tmp/back -c client")
    master.run("docker exec kubelet bash -c 'cmp /tmp/origin /tmp/back; rm /tmp/origin /tmp/back'")


def _outside(host: Host, port: int) -> str:
    """Ask from the machine that the lab runs on, which is no node."""
    command = (*GET.split(), "--noproxy", "*", f"http://{host.address}:{port}/name")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


PATHS: tuple[Callable[[Ends], None], ...] = (
    pod_to_pod, pod_to_pod_on_the_same_node, pod_to_pod_keeps_its_own_address, pod_to_pod_with_much_data,
    pod_to_service_with_pods_on_both_nodes, pod_to_service_of_the_other_node, pod_to_itself_through_its_own_service,
    pod_to_dns, pod_to_the_api_by_its_service, host_to_pod, host_to_service, plain_container_to_pod,
    plain_container_to_service, pod_to_plain_container, plain_container_to_plain_container,
    node_port_through_this_node, node_port_from_the_other_host, node_port_from_a_pod, host_port_from_outside,
    host_port_from_a_pod, published_port_of_a_plain_container, exec_by_kubectl, logs_followed_by_kubectl,
    attach_by_kubectl, port_forward_by_kubectl, copy_by_kubectl,
)  # fmt: skip


@pytest.fixture(scope="module")
def plain_containers(cluster: Cluster) -> Iterator[None]:
    """A container of the user's on each host, with a client and a server in it."""
    for host in cluster.hosts:
        # a server of bash alone: the image has no other
        serve = f"while true; do echo -e 'HTTP/1.0 200 OK\\n\\n{host.name}' | socat - TCP-LISTEN:7000,reuseaddr; done"
        host.run(
            f"docker rm -f {PLAIN} >/dev/null 2>&1; docker run -d --name {PLAIN} --restart=unless-stopped "
            f"-p 7001:7000 {cluster.node_image()} bash -c {shlex.quote(serve)} >/dev/null"
        )
    yield
    for host in cluster.hosts:
        host.run(f"docker rm -f {PLAIN} >/dev/null")


@pytest.mark.parametrize("direction", ["from master to worker", "from worker to master"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__.replace("_", " "))
def test_path(path: Callable[[Ends], None], direction: str, cluster: Cluster, plain_containers: None) -> None:
    here, there = cluster.hosts if direction.startswith("from master") else cluster.hosts[::-1]
    path(Ends(cluster, here, there))


VOLUME = "/srv/volume-test"
"""In a directory that the kubelet sees."""


@pytest.fixture
def writer(cluster: Cluster) -> Iterator[str]:
    """A pod on the worker that wrote a file through a subPath of a hostPath of which nothing was there."""
    worker = cluster.workers[0]
    command = "echo written > /data/file; trap 'exit 0' TERM; sleep 3600 & wait"
    mounts = [{"name": "host", "mountPath": "/data", "subPath": "data"}]
    found = pod("volume-test", worker.name, command, volumeMounts=mounts)
    found["spec"]["volumes"] = [{"name": "host", "hostPath": {"path": VOLUME, "type": "DirectoryOrCreate"}}]
    worker.run(f"rm -rf {VOLUME}")
    cluster.apply(found)
    yield "volume-test"
    cluster.delete("pod", "volume-test")
    worker.run(f"rm -rf {VOLUME}")


def test_what_a_pod_writes_through_a_subpath_of_a_host_path_is_on_the_host(cluster: Cluster, writer: str) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=50s", "pod", writer)
    assert cluster.workers[0].run(f"cat {VOLUME}/data/file").stdout == "written\n"
