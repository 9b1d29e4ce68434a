"""A node that left the inventory, a machine that takes the place of another, a master that is new: noticed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hosts import Host
from tests.lab.lab import Lab

from .cluster import Cluster
from .conftest import DOCKERS, SPARE, docker_choice
from .product import PURGE, Product, assert_empty
from .report import Figure
from .waiting import until

NEW_MACHINE = "5ea1ed0fbad0c0de5ea1ed0fbad0c0de"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where inventories go."""
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="module")
def spare(lab: Lab, cluster: Cluster) -> Iterator[Host]:
    """A third host; afterwards the cluster knows nothing of it."""
    yield _fresh(lab)
    lab.host(SPARE).remove()
    cluster.kubectl("delete", f"node/{SPARE}", f"service/web-{SPARE}", "--ignore-not-found")
    cluster.wait_works()


def _fresh(lab: Lab) -> Host:
    return lab.host(SPARE, docker=DOCKERS[docker_choice()][1], fresh=True)


@pytest.fixture(scope="module")
def three(lab: Lab, cluster: Cluster, spare: Host, place: Path) -> Product:
    """The product on all three."""
    path = lab.inventory(place / "three.py", masters=[cluster.master], workers=[cluster.workers[0], spare])
    return Product(path, dict(cluster.product.data))


def _of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in status["nodes"] if node["node"] == name)


def test_a_new_machine_in_place_of_the_master_makes_no_new_cluster_under_the_workers(
    lab: Lab, cluster: Cluster, spare: Host, place: Path
) -> None:
    worker = cluster.workers[0]
    authority = worker.read("/etc/kubernetes/pki/ca.crt")
    path = lab.inventory(place / "replaced.py", masters=[spare], workers=[worker])
    product = Product(path, dict(cluster.product.data))
    said = f"{worker.name} belongs to a cluster of which the master {spare.name} has neither authorities nor data."
    for entry in ("cluster", "master"):
        run = product.apply(entry)
        assert run.code == 1
        assert said in run.stderr
        assert "deploys/restore.py" in run.stderr
        assert "Traceback" not in run.text
    assert spare.run("ls -d /etc/kubernetes /var/lib/docker-multinode", check=False).stdout == ""
    assert worker.read("/etc/kubernetes/pki/ca.crt") == authority
    _, status = product.told()
    told = _of(status, spare.name)
    assert told["state"] == "absent"
    assert "was it replaced by a new machine?" in told["problems"][0]
    assert "deploys/restore.py" in told["next_step"]


def test_a_new_machine_with_the_name_of_a_node_at_work_is_refused(
    cluster: Cluster, spare: Host, three: Product
) -> None:
    name = cluster.workers[0].name
    run = three.apply("worker", "--limit", spare.name, data={"node_name": name})
    assert run.code == 1
    assert f"is the node {name} and is Ready; set another node_name" in run.stderr
    assert "Traceback" not in run.text
    assert spare.run("ls -d /etc/kubernetes /var/lib/docker-multinode", check=False).stdout == ""


def test_a_node_that_left_the_inventory_is_told_by_status_and_the_next_run(
    cluster: Cluster, spare: Host, three: Product, figure: Figure
) -> None:
    figure("seconds: a second worker joins", three.apply("worker", "--limit", spare.name).check().seconds)
    assert_empty(three.plan())
    code, status = cluster.product.told()
    assert code >= 1
    assert status["not_in_inventory"] == [spare.name]
    assert f"it runs: put it ({spare.address}) back into the inventory" in status["table"]
    plan = cluster.product.plan()
    assert_empty(plan)
    assert f"{spare.name} is a node in the API, but not in the inventory: it runs" in plan.stderr
    code, status = three.told()
    assert status["not_in_inventory"] == []


def test_a_node_that_is_gone_for_good_keeps_no_run_from_its_end(cluster: Cluster, spare: Host) -> None:
    spare.power_off()
    until("the node to be given up", 120, lambda: not cluster.node_ready(SPARE))
    _, status = cluster.product.told()
    assert f"take it out of the API: kubectl delete node {spare.name}" in status["table"]
    worker = cluster.workers[0]
    worker.run("rm /etc/kubernetes/pki/kube-proxy/client.crt")
    run = cluster.product.apply().check()  # which pings the nodes over the pod network
    assert f"kubectl delete node {spare.name}" in run.stderr
    assert_empty(cluster.product.plan())


def test_a_new_machine_takes_the_place_of_one_that_is_gone_and_is_told_so(
    lab: Lab, cluster: Cluster, spare: Host, three: Product, figure: Figure
) -> None:
    spare.power_on()
    until("the node to be back", 120, lambda: cluster.node_ready(SPARE))
    subnet = spare.read("/var/lib/docker-multinode/subnet.env")
    new = _fresh(lab)
    new.write("/etc/machine-id", f"{NEW_MACHINE}\n")
    begin = time.monotonic()
    until("the node to be given up", 120, lambda: not cluster.node_ready(SPARE))
    figure("seconds: until a machine that is gone is given up", time.monotonic() - begin)
    _, status = three.told()
    told = _of(status, SPARE)
    assert told["state"] == "absent"
    said = f"this machine takes the place of node {SPARE}, which was another one"
    assert said in told["problems"][0]
    run = three.apply().check()
    assert said in run.stderr
    (node,) = cluster.get("node", SPARE)
    assert node["status"]["nodeInfo"]["machineID"] == NEW_MACHINE
    assert new.read("/var/lib/docker-multinode/subnet.env") == subnet
    whole = Cluster(cluster.master, (*cluster.workers, new), three)
    whole.deploy_web()
    whole.wait_works()
    assert_empty(three.plan())
    three.apply("turndown", "--limit", SPARE, data=PURGE).check()
    assert_empty(cluster.product.plan())
