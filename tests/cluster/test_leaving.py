"""A host leaves, whatever is broken: a drain that nobody allows, half an install, a Docker that is down, a master that
is gone. Nothing of ours stays on it."""

from __future__ import annotations

import time

import pytest

from tests.lab.hosts import Host

from . import listing, neighbours
from .cluster import BUSYBOX, Cluster, web
from .listing import Listing
from .product import PURGE, Data, Product, Run, assert_empty
from .report import Figure
from .waiting import until

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
DRAIN = 15
"""Seconds that the drain gets which never ends by itself."""

pytestmark = pytest.mark.usefixtures("whole_again")


def _joined(cluster: Cluster) -> Host:
    worker = cluster.workers[0]
    cluster.product.apply("worker", "--limit", worker.name).check()
    neighbours.run_errand(worker)
    return worker


def _leaves(cluster: Cluster, *options: str, data: Data = PURGE) -> Run:
    return cluster.product.apply("turndown", "--limit", cluster.workers[0].name, "--diff", *options, data=data).check()


def _assert_clean(cluster: Cluster, before: dict[str, Listing]) -> None:
    """The worker is as it was before us, and a turndown has nothing to do, also when it is applied."""
    worker = cluster.workers[0]
    neighbours.run_errand(worker)
    until("the user's containers", 60, lambda: neighbours.run_on(worker))
    listing.assert_same(before[worker.name], listing.take(worker))
    assert_empty(cluster.product.plan("turndown", "--limit", worker.name, data=PURGE))
    _leaves(cluster)
    listing.assert_same(before[worker.name], listing.take(worker))


def _nodes(cluster: Cluster) -> set[str]:
    return {node["metadata"]["name"] for node in cluster.get("nodes")}


def test_a_drain_that_a_disruption_budget_never_allows_ends_in_time(cluster: Cluster, figure: Figure) -> None:
    worker = _joined(cluster)
    cluster.deploy_web()
    selector = {"matchLabels": {"on": worker.name}}
    cluster.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                   "metadata": {"name": "never", "namespace": "default"},
                   "spec": {"minAvailable": 1, "selector": selector}})  # fmt: skip
    try:
        run = _leaves(cluster, data={"timeout_for_drain": DRAIN})
        figure(f"seconds: turndown of a worker whose drain is given up after {DRAIN} s", run.seconds)
        assert run.seconds > DRAIN
        assert f"node {worker.name} is not drained in time, and is deleted" in run.stderr
        assert any(web(worker) in line and "disruption budget" in line for line in run.stderr.splitlines())
        assert _nodes(cluster) == {cluster.master.name}
    finally:
        cluster.delete("poddisruptionbudget", "never")


def test_a_worker_whose_name_was_changed_leaves_by_its_old_one(cluster: Cluster, before: dict[str, Listing]) -> None:
    worker = _joined(cluster)
    run = _leaves(cluster, data={**PURGE, "node_name": "renamed"})
    assert f"Will drain node {worker.name}" in run.stderr
    assert f"Will delete the reservation of node {worker.name}" in run.stderr
    assert _nodes(cluster) == {cluster.master.name}
    _assert_clean(cluster, before)


@pytest.mark.promise("turndown-half-installed")
@pytest.mark.parametrize("operation", ["Run the main Docker on the pod network", "Wait for kube-proxy"])
def test_half_an_install_is_taken_away_whole(
    operation: str, cluster: Cluster, before: dict[str, Listing], figure: Figure
) -> None:
    """Of a node image that was built on the host, whatever the others are."""
    worker = cluster.workers[0]
    if worker.name in _nodes(cluster):
        _leaves(cluster)
    neighbours.run_errand(worker)
    nameless = _nameless(worker)
    built = Product(cluster.product.inventory, {k: v for k, v in cluster.product.data.items() if k != "node_image"})
    _killed_at(operation, built, "worker", "--limit", worker.name)
    assert worker.run("ls /etc/systemd/system/docker-bootstrap.service", check=False).returncode == 0
    figure(f"seconds: turndown of a worker whose install ended at: {operation}", _leaves(cluster).seconds)
    assert _nameless(worker) == nameless, "a build has left its layers"
    _assert_clean(cluster, before)


def _nameless(host: Host) -> set[str]:
    """Images without a name, of which nothing else takes care."""
    return set(host.run("docker images -q --no-trunc --filter dangling=true").stdout.split())


@pytest.mark.promise("turndown-half-installed")
def test_half_a_master_is_taken_away_whole(spare: Host, alone: Product, product: Product, figure: Figure) -> None:
    alone.data.update(product.data)
    spare.run(f"docker run --rm {BUSYBOX} true")  # containerd keeps a namespace of Docker's once a container ran
    before = listing.take(spare)
    for operation in ("Run etcd", "Wait for kube-apiserver", "Apply addons"):
        _killed_at(operation, alone, "master")
        assert spare.run("ls /var/lib/docker-multinode/node.json", check=False).returncode == 0
        run = alone.apply("turndown", data=PURGE).check()
        figure(f"seconds: turndown of a master whose install ended at: {operation}", run.seconds)
        listing.assert_same(before, listing.take(spare))
        assert_empty(alone.plan("turndown", data=PURGE))


def _killed_at(operation: str, product: Product, entry: str, *options: str) -> None:
    with product.begun(entry, *options, said=f"Starting operation.*{operation}") as run:
        time.sleep(0.5)
        run.kill()


@pytest.mark.promise("turndown-docker-down")
def test_a_worker_whose_daemons_are_down_leaves(cluster: Cluster, before: dict[str, Listing], figure: Figure) -> None:
    worker = _joined(cluster)
    worker.run("systemctl stop docker.socket docker docker-bootstrap")
    run = _leaves(cluster)
    figure("seconds: turndown of a worker with both Dockers down", run.seconds)
    assert "Will start the main Docker, which is down" in run.stderr
    assert _nodes(cluster) == {cluster.master.name}
    _assert_clean(cluster, before)


@pytest.mark.promise("turndown-docker-down")
def test_a_worker_whose_docker_does_not_start_with_us_leaves_while_the_api_is_down(
    cluster: Cluster, before: dict[str, Listing]
) -> None:
    worker = _joined(cluster)
    worker.run("systemctl stop docker.socket docker; rm /var/lib/docker-multinode/subnet.env")
    assert worker.run("systemctl start docker", check=False).returncode != 0
    cluster.master.run(f"mv {MANIFEST} /root/")
    try:
        until("the API to go", 60, lambda: not cluster.kubectl("get", "--raw", "/livez", check=False))
        run = _leaves(cluster)
        assert f"The API on {cluster.master.name} does not answer: node {worker.name} is not drained" in run.stderr
        _assert_clean(cluster, before)
    finally:
        cluster.master.run(f"mv /root/{MANIFEST.rsplit('/', 1)[1]} {MANIFEST}")
        until("the API to be back", 120, lambda: cluster.kubectl("get", "--raw", "/readyz") == "ok")


@pytest.mark.promise("turndown-master-gone")
def test_a_worker_whose_master_is_gone_leaves_and_may_come_back(
    cluster: Cluster, before: dict[str, Listing], figure: Figure
) -> None:
    worker = _joined(cluster)
    cluster.master.power_off()
    try:
        run = _leaves(cluster)
        figure("seconds: turndown of a worker whose master is gone", run.seconds)
        assert f"The API on {cluster.master.name} does not answer: node {worker.name} is not drained" in run.stderr
        _assert_clean(cluster, before)
        whole = cluster.product.apply("turndown", data=PURGE)  # the master is in it, and can't be reached
        assert whole.code != 0
        assert cluster.master.name in whole.stderr
        assert "Traceback" not in whole.text
    finally:
        cluster.master.power_on()
    until("the API to be back", 120, lambda: cluster.kubectl("get", "--raw", "/readyz") == "ok")
    assert worker.name in _nodes(cluster)  # as the turndown said
    _joined(cluster)
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(cluster.product.plan())
