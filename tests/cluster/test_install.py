"""A fresh install: two Ready nodes, and a second run has nothing to do."""

from __future__ import annotations

import json

import pytest

from tests.lab.hosts import Host

from . import listing, neighbours, shown
from .cluster import BOOTSTRAP, STATIC_PODS, Cluster
from .product import Run, assert_empty, counted
from .report import Figure
from .waiting import until

pytestmark = pytest.mark.core

EXECUTIONS = 10
"""How many commands an unchanged host may be asked to run, at most."""


def test_both_nodes_are_ready_at_the_newest_version(cluster: Cluster) -> None:
    nodes = {node["metadata"]["name"]: node for node in cluster.get("nodes")}
    assert set(nodes) == {host.name for host in cluster.hosts}
    for host in cluster.hosts:
        status = nodes[host.name]["status"]
        assert cluster.node_ready(host.name)
        assert status["nodeInfo"]["kubeletVersion"] == "v1.37.2"
        assert {"type": "InternalIP", "address": host.address} in status["addresses"]
    roles = {n: [r for r in node["metadata"]["labels"] if "node-role" in r] for n, node in nodes.items()}
    assert roles == {cluster.master.name: ["node-role.kubernetes.io/control-plane"], cluster.workers[0].name: []}
    assert not any(node["spec"].get("taints") for node in nodes.values())


def test_the_control_plane_is_static_pods(cluster: Cluster) -> None:
    wanted = {f"{name}-{cluster.master.name}" for name in STATIC_PODS}
    wanted |= {f"kube-proxy-{host.name}" for host in cluster.hosts}

    def sources() -> dict[str, str]:
        pods = {pod["metadata"]["name"]: pod for pod in cluster.get("pods", "-n", "kube-system")}
        return {n: pods[n]["metadata"]["annotations"]["kubernetes.io/config.source"] for n in wanted & set(pods)}

    # the kubelet tells the API of them once its node is there, and of their health some seconds later
    until("the API to know the static pods", 60, lambda: sources() == dict.fromkeys(wanted, "file"))
    until("nodes and pods to be Ready", 60, cluster.ready)


def test_dns_is_ready(cluster: Cluster) -> None:
    cluster.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s", timeout=90)


def test_top_nodes_answers(cluster: Cluster, figure: Figure) -> None:
    def answers() -> bool:
        lines = cluster.kubectl("top", "nodes", "--no-headers").split("\n")
        return {line.split()[0] for line in lines if line} == {host.name for host in cluster.hosts}

    figure("further until kubectl top nodes answers", until("kubectl top nodes to answer", 120, answers))


def test_every_addon_is_in_the_api(cluster: Cluster) -> None:
    found = {d["metadata"]["name"] for d in cluster.get("deployments", "-A")}
    assert {"coredns", "metrics-server", "headlamp"} <= found


def test_the_plan_showed_every_file_in_full(cluster: Cluster, first_plan: Run, untouched: None) -> None:
    for host in cluster.hosts:
        plan = shown.files(first_plan, host.name)
        written = host.read("/var/lib/docker-multinode/files").split()
        texts = [path for path in written if not path.endswith((".key", ".crt", ".pub", ".pem"))]
        for path in texts:
            assert path in plan, f"{host.name}: the plan did not show {path}"
            lines = [line for line in host.read(path).splitlines() if line.strip()]
            assert [line for line in plan[path] if line.strip()] == lines or path.endswith("/subnet.env"), path
        assert set(plan) <= set(written)


def test_the_plan_showed_every_container_with_its_options(cluster: Cluster, first_plan: Run, untouched: None) -> None:
    for host in cluster.hosts:
        assert shown.containers(first_plan, host.name) == _labels(host)


def _labels(host: Host) -> dict[str, list[str]]:
    form = "'{{.Name}} {{index .Config.Labels \"io.docker-multinode.spec\"}}'"
    found = {}
    for docker in ("docker", BOOTSTRAP):
        ids = host.run(f"{docker} ps -aq --filter label=io.docker-multinode.spec").stdout.split()
        for line in host.run(f"{docker} inspect --format {form} {' '.join(ids)}").stdout.splitlines():
            name, _, label = line.partition(" ")
            found[name.lstrip("/")] = json.loads(label)
    return found


def test_the_plan_showed_every_certificate(cluster: Cluster, first_plan: Run, untouched: None) -> None:
    for host in cluster.hosts:
        plan = shown.certificates(first_plan, host.name)
        there = {path for path in host.read("/var/lib/docker-multinode/files").split() if path.endswith(".crt")}
        copied = set() if host is cluster.master else {path for path in there if path.endswith("/ca.crt")}
        assert there - copied <= set(plan)
        issued = [lines for path, lines in plan.items() if not path.endswith("ca.crt")]
        assert all(lines[0].startswith("subject: ") and lines[-1].startswith("signer: ") for lines in issued)


def test_the_second_plan_is_empty(cluster: Cluster) -> None:
    assert_empty(cluster.product.plan())


def test_the_second_apply_changes_nothing(cluster: Cluster, figure: Figure) -> None:
    def look() -> list[object]:
        return [(listing.identity(listing.take(h)), listing.managed_files(h)) for h in cluster.hosts]

    before = look()
    with counted(cluster.hosts) as sessions:
        run = cluster.product.apply().check()
    assert look() == before
    figure("second run", run.seconds)
    for host, count in sessions.executions.items():
        figure(f"ssh executions of the second run, {host}", count)
        assert 0 < count <= EXECUTIONS, f"{host}: {count} commands"
    assert not any(sessions.transfers.values())


def test_the_users_own_containers_run_on(cluster: Cluster) -> None:
    for host in cluster.hosts:
        assert neighbours.run_on(host)
