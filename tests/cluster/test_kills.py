"""A program that dies at once (SIGKILL) comes back by itself, and there is nothing to mend."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host

from . import neighbours
from .back import back
from .cluster import Cluster, in_bootstrap
from .report import Figure
from .waiting import until


@dataclass(frozen=True)
class Victim:
    """A program of a node.

    :param pid: the command that prints the process id that dies.
    :param on_workers: whether it runs on every node, and not on the master only.
    :param below: whether it runs in a container of the bootstrap daemon.
    :param bounces: whether the containers of the host are started again with it: a Docker without live-restore
        stops what it finds running when it starts. What has unless-stopped it leaves down then, as on a host
        without a cluster (measured on 26.1.5 and 28.5.2).
    """

    name: str
    pid: str
    on_workers: bool = True
    below: bool = False
    bounces: bool = False

    def hosts(self, cluster: Cluster) -> tuple[Host, ...]:
        """Where it runs."""
        return cluster.hosts if self.on_workers else (cluster.master,)

    def process(self, host: Host) -> str:
        """Its process id on a host; empty while it does not run."""
        return host.run(self.pid, check=False).stdout.strip().removeprefix("0")


def _unit(name: str) -> str:
    return f"systemctl show --value -p MainPID {name}"


VICTIMS = {
    victim.name: victim
    for victim in (
        Victim("dockerd", _unit("docker"), bounces=True),
        Victim("bootstrap", _unit("docker-bootstrap")),
        Victim("containerd", _unit("containerd")),
        Victim("kubelet", "pgrep -x kubelet"),
        Victim("cri-dockerd", "pgrep -x cri-dockerd"),
        Victim("etcd", "pgrep -x etcd", on_workers=False, below=True),
        Victim("flanneld", "pgrep -x flanneld", below=True),
        Victim("apiserver", "pgrep -x kube-apiserver", on_workers=False),
    )
}
CORE = ("kubelet", "flanneld")

NAMES = "docker ps --format '{{.Names}}'"
"""What runs in the main Docker."""


def containers(host: Host) -> dict[str, str]:
    """The user's containers and the standing pods' → when each was started."""
    pods = "docker ps -q --filter label=io.kubernetes.pod.namespace=default"
    form = "'{{.Name}} {{.State.StartedAt}}'"
    lines = host.run(f"docker inspect -f {form} diary shop $({pods})").stdout.splitlines()
    return dict(line.split() for line in lines)


def _kill(victim: Victim, hosts: tuple[Host, ...]) -> float:
    """Kill it on all hosts at the same moment and wait until it runs again on each; when it was killed."""
    before = {host.name: victim.process(host) for host in hosts}
    assert all(before.values()), before
    begin = time.monotonic()
    for host in hosts:
        host.run(f"kill -9 {before[host.name]}")
    for host in hosts:
        until(
            f"{victim.name} on {host.name} to run again",
            120,
            lambda host=host: victim.process(host) not in ("", before[host.name]),  # type: ignore[misc]
        )
    return begin


def _start_what_docker_left_down(victim: Victim, hosts: tuple[Host, ...]) -> None:
    if victim.bounces:
        for host in hosts:
            host.run(f"docker start {' '.join(neighbours.WITH_POLICY)}")


@pytest.mark.parametrize(
    "victim",
    [
        pytest.param(
            victim,
            id=name,
            marks=[pytest.mark.promise(f"kill9-{name}"), *([pytest.mark.core] if name in CORE else [])],
        )
        for name, victim in VICTIMS.items()
    ],
)
def test_a_killed_program_comes_back(victim: Victim, cluster: Cluster, figure: Figure) -> None:
    """It dies on every host that runs it at the same moment, which is worse than on one alone."""
    started = {host.name: containers(host) for host in cluster.hosts}
    below = [in_bootstrap(host) for host in cluster.hosts]
    what = f"kill -9 of {victim.name}" + (" on both" if victim.on_workers else "")
    begin = _kill(victim, victim.hosts(cluster))
    figure(f"seconds: {what}, until it runs again", time.monotonic() - begin)
    for host in victim.hosts(cluster):  # its policy is always
        until(f"shop on {host.name}", 60, lambda host=host: "shop" in host.run(NAMES).stdout.split())  # type: ignore[misc]
    _start_what_docker_left_down(victim, victim.hosts(cluster))
    back(cluster, figure, what, begin)
    assert victim.below or [in_bootstrap(host) for host in cluster.hosts] == below
    for host in cluster.hosts:
        if not victim.bounces:
            assert containers(host) == started[host.name]


@pytest.mark.parametrize("name", ["dockerd", "kubelet"])
def test_a_program_that_is_killed_again_and_again_comes_back(name: str, cluster: Cluster, figure: Figure) -> None:
    """Docker's own unit gives up after three starts within a minute; our drop-in does not let it.

    It dies once it answers: 28.5.2 that dies while it still ends what the one before it left may begin and end a
    container of anybody's for minutes (measured).
    """
    victim = VICTIMS[name]
    for _ in range(6):
        begin = _kill(victim, cluster.workers)
        for host in cluster.workers:
            until(f"Docker on {host.name} to answer", 60, lambda host=host: host.run("docker version"))  # type: ignore[misc]
    _start_what_docker_left_down(victim, cluster.workers)
    back(cluster, figure, f"kill -9 of {name} on the worker, six times in a row", begin)
