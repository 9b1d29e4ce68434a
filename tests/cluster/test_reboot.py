"""Hosts and daemons that restart: the cluster comes back by itself, and there is nothing to mend."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.hosts import Host

from . import neighbours
from .back import back
from .cluster import Cluster, docker0, in_bootstrap
from .report import Figure
from .waiting import until


def _reboot(cluster: Cluster, host: Host, figure: Figure, what: str) -> None:
    begin = time.monotonic()
    host.reboot()
    figure(f"seconds: {what}, until ssh answers again", time.monotonic() - begin)
    back(cluster, figure, what, begin)


@pytest.mark.core
def test_the_worker_reboots(cluster: Cluster, figure: Figure) -> None:
    _reboot(cluster, cluster.workers[0], figure, "reboot of the worker")


@pytest.mark.core
@pytest.mark.promise("reboot-master")
def test_the_master_reboots(cluster: Cluster, figure: Figure) -> None:
    _reboot(cluster, cluster.master, figure, "reboot of the master")


@pytest.mark.promise("reboot-all")
def test_both_reboot_and_the_worker_is_up_first(cluster: Cluster, figure: Figure) -> None:
    cluster.master.power_off()
    cluster.workers[0].reboot()
    until("the worker's own containers, without a master", 60, lambda: neighbours.run_on(cluster.workers[0]))
    begin = time.monotonic()
    cluster.master.power_on()
    back(cluster, figure, "both reboot, the worker first, then the master is switched on", begin)


@pytest.mark.promise("reboot-all")
def test_all_reboot_at_once(cluster: Cluster, figure: Figure) -> None:
    begin = time.monotonic()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Host.reboot, cluster.hosts))
    back(cluster, figure, "both reboot at once", begin)


@pytest.mark.promise("reboot-worker-master-gone")
def test_the_worker_reboots_while_the_master_is_gone(cluster: Cluster, figure: Figure) -> None:
    worker, address = cluster.workers[0], docker0(cluster.workers[0])
    cluster.master.power_off()
    try:
        begin = time.monotonic()
        worker.reboot()
        until("the worker's own containers", 60, lambda: neighbours.run_on(worker))
        figure("seconds: reboot of the worker without a master, until its own containers run", time.monotonic() - begin)
        assert docker0(worker) == address
        # its pods as well: the kubelet has no API to ask, so Docker's restart policy has none to start, but
        # nothing may keep the host from serving what is its own
    finally:
        begin = time.monotonic()
        cluster.master.power_on()
    back(cluster, figure, "the master is switched on after the worker's reboot", begin)


def test_a_docker_that_is_not_enabled_is_started_at_boot(cluster: Cluster, figure: Figure) -> None:
    worker, links = cluster.workers[0], "multi-user.target.wants/docker.service sockets.target.wants/docker.socket"
    # packed, not made anew by systemctl enable: a turndown's test compares their times
    worker.run(f"cd /etc/systemd/system && tar --format=posix -cf /root/enabled.tar {links} && rm {links}")
    try:
        begin = time.monotonic()
        worker.reboot()
        back(cluster, figure, "reboot of a worker whose docker.service is not enabled", begin)
    finally:
        worker.run("tar -xpf /root/enabled.tar -C /etc/systemd/system && rm /root/enabled.tar; systemctl daemon-reload")


@pytest.mark.promise("reboot-all")
def test_power_cut_of_both(cluster: Cluster, figure: Figure) -> None:
    begin = time.monotonic()
    for host in cluster.hosts:
        host.power_off()
    for host in cluster.hosts:
        host.power_on()
    back(cluster, figure, "power cut of both", begin)


@pytest.mark.parametrize("unit", ["docker", "docker-bootstrap"])
def test_a_daemon_restarts(unit: str, cluster: Cluster, figure: Figure) -> None:
    begin = time.monotonic()
    for host in cluster.hosts:
        host.run(f"systemctl restart {unit}")
    back(cluster, figure, f"systemctl restart {unit} on both", begin)


def test_the_bootstrap_daemon_restarts_without_its_containers(cluster: Cluster) -> None:
    before = [in_bootstrap(host) for host in cluster.hosts]
    for host in cluster.hosts:
        host.run("systemctl restart docker-bootstrap")
    assert [in_bootstrap(host) for host in cluster.hosts] == before
    cluster.wait_works()
