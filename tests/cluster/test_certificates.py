"""Certificates near their end, on request, ended, and the kubelet's own: reissued, and only what must restarts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.lab.hosts import Host

from . import aging
from .aging import CLIENT, PKI
from .cluster import BOOTSTRAP, KUBECTL, Cluster
from .product import Run, assert_empty
from .report import Figure
from .shown import certificates
from .waiting import until

NEAR = {
    "master": ("apiserver", "apiserver-etcd-client", "etcd/server", "front-proxy-client", "scheduler/client", "admin"),
    "worker": ("etcd/flannel-client", "kubelet", "kube-proxy/client"),
}
"""What is near its end; flannel is the only one of the programs that reads its certificate at its start only."""
RENEW = {"renew_certificates": True}
SIGNED_FOR = {"controller_manager_extra_args": {"cluster-signing-duration": "2m"}}


def _near(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    return {cluster.master.name: NEAR["master"], cluster.workers[0].name: NEAR["worker"]}


def _paths(names: tuple[str, ...]) -> set[str]:
    return {f"{PKI}/{name}.crt" for name in names}


def _status(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Node → its part of the status; a pod whose image can't be had in the lab is no problem here."""
    nodes = {node["node"]: node for node in cluster.product.told()[1]["nodes"]}
    for node in nodes.values():
        node["problems"] = [problem for problem in node["problems"] if "headlamp" not in problem]
        node["lines"] = "\n".join(line for drift in node["drift"] for line in drift["plan"])
    return nodes


def _restarts(plan: Run) -> list[str]:
    return [line.strip() for line in plan.diff if "Will restart container" in line]


@pytest.mark.promise("cert-near-expiry")
@pytest.mark.core
def test_certificates_near_their_end_are_named_and_reissued_and_only_flannel_restarts(
    cluster: Cluster, figure: Figure
) -> None:
    near = _near(cluster)
    for host in cluster.hosts:
        aging.age(cluster, host, near[host.name], ago=360, left=5)
    cluster.wait_works()
    status = _status(cluster)
    for host in cluster.hosts:
        told = status[host.name]
        assert (told["certificate_days"], told["problems"]) == (4, [])
        assert "look at the plan, then apply it" in told["next_step"]
        assert all(
            f"Will issue {path}, because its lifetime ends on" in told["lines"] for path in _paths(near[host.name])
        )
    plan = cluster.product.plan()
    assert {host.name: set(certificates(plan, host.name)) for host in cluster.hosts} == {
        name: _paths(which) for name, which in near.items()
    }
    (line,) = _restarts(plan)
    assert f"[{cluster.workers[0].name}] Will restart container flannel on the bootstrap daemon" in line
    before = {host.name: (aging.started(host), aging.keys(host)) for host in cluster.hosts}
    run = cluster.product.apply().check()
    figure("seconds: a run that reissues certificates near their end", run.seconds)
    for host in cluster.hosts:
        containers, keys = before[host.name]
        expected = {"flannel"} if host is cluster.workers[0] else set()
        assert aging.restarted(containers, aging.started(host)) == expected
        now = aging.keys(host)
        assert {path for path in keys if now[path] != keys[path]} == {f"{name}.key" for name in near[host.name]}
    _served(cluster)
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def _served(cluster: Cluster) -> None:
    """Programs serve what lies on the disk, though none of them was restarted."""
    master, worker = cluster.master, cluster.workers[0]
    for host, port, name in ((master, 6443, "apiserver"), (master, 2379, "etcd/server"), (worker, 10250, "kubelet"),
                             (master, 10250, "kubelet")):  # fmt: skip
        serial = aging.certificate(host, name).serial_number
        until(f"{name} of {host.name} to be served", 70, lambda h=host, p=port, s=serial: aging.served(h, p) == s)  # type: ignore[misc]


@pytest.mark.core
def test_on_request_all_certificates_are_reissued_and_the_next_plan_is_empty(cluster: Cluster, figure: Figure) -> None:
    every = {host.name: aging.names(cluster, host) for host in cluster.hosts}
    plan = cluster.product.plan(data=RENEW)
    assert {host.name: set(certificates(plan, host.name)) for host in cluster.hosts} == {
        name: _paths(which) for name, which in every.items()
    }
    assert all("because renew_certificates asks for it" in line for line in plan.diff if "Will issue" in line)
    assert len(_restarts(plan)) == len(cluster.hosts)
    assert_empty(cluster.product.plan())
    before = {host.name: _identity(cluster, host) for host in cluster.hosts}
    run = cluster.product.apply(data=RENEW).check()
    figure("seconds: a run that reissues all certificates", run.seconds)
    for host in cluster.hosts:
        serials, client, containers, keys = before[host.name]
        now = _identity(cluster, host)
        assert not set(now[0].items()) & set(serials.items())
        assert now[1] == client  # the kubelet's own stays its own
        assert aging.restarted(containers, now[2]) == {"flannel"}
        same = {path for path in keys if now[3][path] == keys[path]}
        assert same == {f"{name}.key" for name in aging.AUTHORITIES if f"{name}.key" in keys}
    _served(cluster)
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def _identity(cluster: Cluster, host: Host) -> tuple[dict[str, int], int, dict[str, str], dict[str, str]]:
    every = aging.names(cluster, host)
    client = aging.certificate(host, CLIENT).serial_number
    return aging.serials(host, every), client, aging.started(host), aging.keys(host)


def test_a_cluster_whose_certificates_have_ended_is_told_so_and_mended_by_a_run(
    cluster: Cluster, figure: Figure
) -> None:
    for host in cluster.hosts:
        aging.age(cluster, host, (*aging.names(cluster, host), CLIENT), ago=366, left=-1)
    for host in cluster.hosts:
        # as after a boot: no connection of before is left
        host.run(f"{BOOTSTRAP} restart -t 5 $({BOOTSTRAP} ps -q); systemctl restart docker", timeout=120)
    until("the API to be away", 60, lambda: not _api_answers(cluster))
    status = _status(cluster)
    for host in cluster.hosts:
        told = status[host.name]
        assert told["state"] == "broken"
        assert told["certificate_days"] < 0
        ended = {problem.split()[0] for problem in told["problems"] if " ended on " in problem}
        assert ended == {*_paths(aging.names(cluster, host)), CLIENT}
        assert "look at the plan, then apply it" in told["next_step"]
    plan = cluster.product.plan().check()
    for host in cluster.hosts:
        assert set(certificates(plan, host.name)) == {*_paths(aging.names(cluster, host)), CLIENT}
    run = cluster.product.apply().check()
    figure("seconds: a run on a cluster whose certificates have all ended", run.seconds)
    figure("seconds: then until pods reach each other", cluster.wait_works())
    figure("seconds: then until a new Service is answered on every node", _new_service(cluster))
    assert_empty(cluster.product.plan())


def _api_answers(cluster: Cluster) -> bool:
    return cluster.master.run(f"{KUBECTL} get --raw /readyz", check=False).returncode == 0


def _new_service(cluster: Cluster) -> float:
    """Seconds until kube-proxy on each node has heard of a Service that is made now."""
    cluster.kubectl("expose", "pod", f"web-{cluster.master.name}", "--name=heard", "--port=8080")
    begin = time.monotonic()
    try:
        address = cluster.get("service", "heard")[0]["spec"]["clusterIP"]
        for host in cluster.hosts:
            ask = f"curl -fsS -m 3 http://{address}:8080/name"
            until(f"the new Service on {host.name}", 330, lambda h=host, c=ask: h.run(c).stdout)  # type: ignore[misc]
        return time.monotonic() - begin
    finally:
        cluster.delete("service", "heard")


def test_the_kubelet_rotates_its_own_certificate_without_a_restart(cluster: Cluster, figure: Figure) -> None:
    worker = cluster.workers[0]
    cluster.product.apply(data=SIGNED_FOR).check()
    try:
        aging.age(cluster, worker, (CLIENT,), ago=360, left=5)
        aged = aging.certificate(worker, CLIENT).serial_number
        worker.run("docker restart -t 5 kubelet")  # one that it did not fetch itself it reads at its start
        figure("seconds: a kubelet with a certificate near its end, until it has a new one", _rotated(worker, aged))
        containers, short = aging.started(worker), aging.certificate(worker, CLIENT)
        assert (short.not_valid_after_utc - short.not_valid_before_utc).total_seconds() <= 480
        figure("seconds: a certificate for 2 minutes, until it is rotated", _rotated(worker, short.serial_number))
        assert aging.restarted(containers, aging.started(worker)) == set()
        cluster.ready()
        assert_empty(cluster.product.plan(data=SIGNED_FOR))
    finally:
        cluster.product.apply().check()
    until("a certificate for a year", 150, lambda: _days(worker) > 300)
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def _rotated(host: Host, serial: int) -> float:
    return until("another certificate", 150, lambda: aging.certificate(host, CLIENT).serial_number != serial, every=1)


def _days(host: Host) -> int:
    have = aging.certificate(host, CLIENT)
    return (have.not_valid_after_utc - have.not_valid_before_utc).days
