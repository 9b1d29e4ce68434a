"""master.py, worker.py, a worker alone with --limit, and a login that is not root."""

from __future__ import annotations

import os

import pytest

from tests.lab.lab import Lab

from . import listing, neighbours
from .cluster import Cluster
from .listing import Listing
from .product import PURGE, Product, assert_empty, counted
from .report import Figure
from .test_security import _assert_absent

pytestmark = pytest.mark.usefixtures("whole_again")


def test_a_worker_leaves_and_joins_again_alone(cluster: Cluster, before: dict[str, Listing], figure: Figure) -> None:
    worker = cluster.workers[0]
    neighbours.run_errand(worker)
    own = listing.identity(listing.take(cluster.master))["docker-bootstrap identity"]
    figure(
        "seconds: turndown of a worker",
        cluster.product.apply("turndown", "--limit", worker.name, data=PURGE).check().seconds,
    )
    listing.assert_same(before[worker.name], listing.take(worker))
    assert {node["metadata"]["name"] for node in cluster.get("nodes")} == {cluster.master.name}
    run = cluster.product.apply("worker", "--limit", worker.name).check()
    figure("seconds: a worker joins by worker.py --limit", run.seconds)
    cluster.deploy_web()
    cluster.wait_works()
    assert listing.identity(listing.take(cluster.master))["docker-bootstrap identity"] == own
    assert_empty(cluster.product.plan())


def test_a_node_that_somebody_deleted_registers_again(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    cluster.kubectl("delete", "node", worker.name)
    assert any(f"the API has no node {worker.name}" in line for line in cluster.product.plan().check().diff)
    cluster.product.apply().check()
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def test_a_worker_alone_with_nothing_to_do(cluster: Cluster) -> None:
    worker = cluster.workers[0].name
    assert_empty(cluster.product.plan("worker", "--limit", worker))
    with counted(cluster.hosts) as sessions:
        cluster.product.apply("worker", "--limit", worker).check()
    assert 0 < sessions.executions[worker] <= 10


def test_master_then_worker(cluster: Cluster, figure: Figure) -> None:
    cluster.product.apply("turndown", data=PURGE).check()
    figure("seconds: master.py", cluster.product.apply("master").check().seconds)
    alone = Cluster(cluster.master, (), cluster.product)
    alone.deploy_web()
    alone.wait_works()  # a master alone is a complete cluster
    assert_empty(cluster.product.plan("master"))
    figure("seconds: worker.py", cluster.product.apply("worker").check().seconds)
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def test_a_deploy_of_ones_own_says_sudo_for_all_of_it(
    lab: Lab, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("own")
    (folder / "site.py").write_text("from deploys import cluster\n\ncluster(_sudo=True)\n")
    path = lab.inventory(folder / "inventory.py", masters=[cluster.master], workers=cluster.workers, user="lab")
    path.write_text(path.read_text().replace("'_sudo': True", "'rack': 7"))
    assert "_sudo" not in path.read_text()
    product = Product(path, cluster.product.data)
    own = os.path.relpath(folder / "site", product.cwd / "deploys")
    assert_empty(product.plan(own))
    more = {"kubelet_extra_args": {"max-pods": "99"}}
    product.apply(own, data=more).check()
    assert_empty(cluster.product.plan(data=more))
    cluster.product.apply().check()
    assert_empty(product.plan(own))


def test_a_login_with_sudo(lab: Lab, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    worker = cluster.workers[0]
    path = tmp_path_factory.mktemp("sudo") / "inventory.py"
    lab.inventory(path, masters=[cluster.master], workers=[worker], user={worker.name: "lab"})
    product = Product(path, cluster.product.data)
    assert_empty(product.plan())
    cluster.product.apply("turndown", "--limit", worker.name, data=PURGE).check()
    run = product.run("worker", "-y", "-vvv", "--diff", "--limit", worker.name).check()
    _assert_absent(worker, run.text)
    files = worker.run("find / -xdev -user lab -not -path '/proc/*' -not -path '/home/lab*' -not -path '/run/user/*'")
    assert files.stdout == ""
    leftovers = worker.run("ls /tmp | grep -v ^systemd-private || true").stdout
    assert leftovers == ""
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(product.plan())
    with counted([worker]) as sessions:
        product.apply().check()
    assert 0 < sessions.executions[worker.name] <= 10
