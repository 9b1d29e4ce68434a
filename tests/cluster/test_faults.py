"""What happens to machines and networks: cuts, lost keys, restarts under load. All comes back by itself."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from tests.lab.hosts import Host
from tests.lab.lab import Lab

from .back import back
from .cluster import ETCDCTL, KUBECTL, Cluster, pod, web
from .load import Load, requests
from .product import assert_empty
from .report import Figure
from .test_kills import containers
from .waiting import until

LEASES, RESERVATIONS = "/coreos.com/network/subnets/", "/docker-multinode/subnets/"


def _pairs(cluster: Cluster, prefix: str) -> dict[str, str]:
    """Keys in etcd with this prefix → their values."""
    lines = cluster.master.run(f"{ETCDCTL} get --prefix {prefix}").stdout.splitlines()
    return dict(zip(lines[::2], lines[1::2], strict=True))


def _ready(cluster: Cluster, host: Host) -> dict[str, Any]:
    """The condition Ready of a node."""
    conditions = cluster.get("node", host.name)[0]["status"]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "Ready")


# ---- the network


@pytest.mark.promise("partition-worker")
def test_a_worker_that_was_cut_off_for_ten_seconds(cluster: Cluster, figure: Figure) -> None:
    worker = cluster.workers[0]
    before = _ready(cluster, worker)["lastTransitionTime"], containers(worker), _pairs(cluster, LEASES)
    with worker.unplugged():
        time.sleep(10)
    back(cluster, figure, "the worker was cut off for 10 s")
    assert (_ready(cluster, worker)["lastTransitionTime"], containers(worker), _pairs(cluster, LEASES)) == before


@pytest.mark.promise("partition-worker")
def test_a_worker_that_was_cut_off_longer_than_its_grace_period(cluster: Cluster, figure: Figure) -> None:
    """Its pods go on and stay its pods; one that does not tolerate the cut is gone once the two meet again."""
    worker = cluster.workers[0]
    before = containers(worker), _pairs(cluster, LEASES)
    impatient = pod("impatient", worker.name, "trap 'exit 0' TERM; sleep infinity & wait")
    impatient["spec"]["tolerations"] = [
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    ]
    cluster.apply(impatient)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=50s", "pod/impatient")
    with worker.unplugged():
        missed = until("the master to miss the worker", 180, lambda: _ready(cluster, worker)["status"] == "Unknown")
        figure("seconds: the worker is cut off, until it is NotReady", missed)
        until("the impatient pod to be evicted", 60, lambda: _evicted(cluster, "impatient"))
        assert not _evicted(cluster, web(worker))
    back(cluster, figure, "the worker was cut off longer than its grace period")
    until("the evicted pod to be gone", 60, lambda: "impatient" not in cluster.kubectl("get", "pods", "-o", "name"))
    assert (containers(worker), _pairs(cluster, LEASES)) == before


def _evicted(cluster: Cluster, name: str) -> bool:
    return "deletionTimestamp" in cluster.get("pod", name)[0]["metadata"]


@pytest.mark.promise("flannel-lease-gone")
def test_a_subnet_that_etcd_forgot_is_taken_again(cluster: Cluster, figure: Figure) -> None:
    leases, reservations = set(_pairs(cluster, LEASES)), _pairs(cluster, RESERVATIONS)
    _forget(cluster)
    plan = cluster.product.plan().check()
    for key, node in reservations.items():
        named = f"Will reserve {key.removeprefix(RESERVATIONS).replace('-', '/')} for node {node} in etcd"
        assert any(named in line for line in plan.diff), "\n".join(plan.diff)
    cluster.product.apply().check()
    assert (set(_pairs(cluster, LEASES)), _pairs(cluster, RESERVATIONS)) == (leases, reservations)
    back(cluster, figure, "reservations and leases were deleted, and a run mended it")


@pytest.mark.promise("flannel-lease-gone")
def test_a_node_takes_its_subnet_at_boot_though_etcd_forgot_it(cluster: Cluster, figure: Figure) -> None:
    leases, reservations = set(_pairs(cluster, LEASES)), _pairs(cluster, RESERVATIONS)
    _forget(cluster)
    begin = time.monotonic()
    cluster.workers[0].reboot()
    cluster.wait_works()
    seconds = time.monotonic() - begin
    figure("seconds: reservations and leases were deleted, the worker reboots, until all works", seconds)
    assert set(_pairs(cluster, LEASES)) == leases
    assert cluster.product.plan().check().changes
    cluster.product.apply().check()
    assert _pairs(cluster, RESERVATIONS) == reservations
    assert_empty(cluster.product.plan())


def _forget(cluster: Cluster) -> None:
    cluster.master.run(f"{ETCDCTL} del --prefix {RESERVATIONS} && {ETCDCTL} del --prefix {LEASES}")
    assert not _pairs(cluster, RESERVATIONS)


# ---- daemons and machines


@pytest.mark.promise("docker-restart-under-load")
@pytest.mark.parametrize("role", ["worker", "master"])
def test_docker_restarts_while_a_client_asks_a_service(role: str, cluster: Cluster, figure: Figure) -> None:
    """The Service has a pod on either host; the client is a pod on the other host."""
    restarted, other = (cluster.workers[0], cluster.master)[:: 1 if role == "worker" else -1]
    address = cluster.get("service", "web")[0]["spec"]["clusterIP"]
    with (
        requests(cluster, other, f"http://{address}:8080/name") as by_address,
        requests(cluster, other, "http://web:8080/name") as by_name,
    ):
        time.sleep(5)
        begin = time.monotonic()
        restarted.run("systemctl restart docker")
        cluster.wait_works()
        # the API may call a pod Ready for a while by what it knew before, and a Service, also that of DNS, lead to its
        # old address
        asked = " && ".join(f"curl -fsS -m 2 http://{name}:8080/name" for name in (address, "web"))
        often = f"for i in $(seq 20); do {asked} || exit 1; done"
        until("the Services to lead to pods that run", 60, lambda: cluster.in_pod(other, web(other), often))
        time.sleep(5)
    for how, load in (("by address", by_address), ("by name", by_name)):
        what = f"docker restarts on the {role}, a client asks a Service {how}"
        figure(f"requests lost: {what}", load.lost)
        figure(f"requests done: {what}", len(load.done))
        figure(f"seconds without an answer: {what}", load.silence)
        figure(f"seconds from the first lost request to the last: {what}", load.trouble)
        _assert_served(load, {web(host) for host in cluster.hosts})
        assert load.trouble < 60
    back(cluster, figure, f"docker restarted on the {role} under load, 5 s of load after it included", begin)


def _assert_served(load: Load, names: set[str]) -> None:
    begin, end = load.done[0].begin + 4, load.done[-1].end - 4
    first = [request for request in load.done if request.end < begin]
    last = [request for request in load.done if request.begin > end]
    assert {request.answer for request in first} == names, first
    assert {request.answer for request in last} == names, last


@pytest.mark.promise("power-cut-master")
def test_what_the_api_accepted_outlives_a_power_cut_of_the_master(cluster: Cluster, figure: Figure) -> None:
    """No packet tells the worker of it. (What etcd wrote and the disk has not is lost by a real cut only.)"""
    create = f"{KUBECTL.replace(' -i ', ' ')} create configmap -o name"
    command = f"i=0; while {create} cut-$i; do i=$((i+1)); done"
    writer = subprocess.Popen((*cluster.master.ssh(), command), stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    accepted = [writer.stdout.readline().strip() for _ in range(10)]
    begin = time.monotonic()
    cluster.master.power_off()
    writer.kill()
    accepted += writer.stdout.read().split()
    writer.wait()
    cluster.master.power_on()
    back(cluster, figure, "power cut of the master", begin)
    kept = set(cluster.kubectl("get", "configmaps", "-o", "name").split())
    assert set(accepted) <= kept
    cluster.delete(*(name for name in kept if name.startswith("configmap/cut-")))


def test_a_newer_docker_and_an_older_one_start_without_a_run(lab: Lab, cluster: Cluster, figure: Figure) -> None:
    """As their packages bring them: pods of the other node are reached, and the plan stays empty."""
    worker = cluster.workers[0]
    with lab.another_dockerd(worker) as other:
        begin = _docker_restarts_as(worker, other)
        back(cluster, figure, f"Docker {other} came in the place of the worker's own", begin)
    begin = _docker_restarts_as(worker, worker.docker)
    back(cluster, figure, f"the worker's own Docker came in the place of {other}", begin)
    begin = time.monotonic()
    worker.reboot()  # without what the other one left in iptables
    back(cluster, figure, f"the worker reboots after it had Docker {other}", begin)


def _docker_restarts_as(host: Host, version: str) -> float:
    begin = time.monotonic()
    host.run("systemctl restart docker")
    assert host.run("docker version --format '{{.Server.Version}}'").stdout.startswith(f"{version}.")
    return begin
