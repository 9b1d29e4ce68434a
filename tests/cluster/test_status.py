"""The state of a cluster for people, machines and cron; and one run at a time on a host."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator

import pytest

from .cluster import Cluster
from .product import Product, assert_empty
from .waiting import until

VERSION = "jsonpath={.status.nodeInfo.kubeletVersion}"


@pytest.fixture(scope="module")
def whole(cluster: Cluster) -> Iterator[Product]:
    """The cluster with the addons alone whose images the lab has: nothing is missing in it."""
    product = Product(cluster.product.inventory, {**cluster.product.data, "addons": "coredns,metrics-server"})
    product.apply().check()
    until("the cluster to be healthy", 90, lambda: product.status().returncode == 0)
    yield product
    cluster.product.apply().check()


@pytest.mark.core
def test_a_cluster_that_is_as_it_should_be_is_healthy(cluster: Cluster, whole: Product) -> None:
    assert_empty(whole.plan())
    code, found = whole.told()
    assert (code, [n["state"] for n in found["nodes"]]) == (0, ["healthy", "healthy"])
    assert [(n["node"], n["role"]) for n in found["nodes"]] == [
        (cluster.master.name, "master"),
        (cluster.workers[0].name, "worker"),
    ]
    for node in found["nodes"]:
        assert node["drift"] == []
        assert node["kubernetes"] == cluster.kubectl("get", "node", node["node"], "-o", VERSION)
        assert node["certificate_days"] > 300
        assert len(set(node["subnet"].values())) == 1
        assert node["problems"] == []
        assert (node["bootstrap_daemon"], node["main_daemon"]) == ("running", "running")
        assert node["etcd"] == ("answers" if node["role"] == "master" else "")
        assert node["pods_not_running"] == []
    assert found["not_in_inventory"] == []


@pytest.mark.core
def test_drift_is_told_with_the_lines_that_an_apply_would_change(cluster: Cluster, whole: Product) -> None:
    worker = cluster.workers[0]
    worker.run("chmod 644 /etc/kubernetes/pki/kube-proxy/client.key")
    try:
        run = whole.status()
        assert run.returncode == 1
        assert "an apply would: Issue certificates" in run.stdout
        assert "/etc/kubernetes/pki/kube-proxy/client.key" in run.stdout
    finally:
        whole.apply().check()
    assert whole.status().returncode == 0


@pytest.mark.core
def test_a_pod_that_does_not_run_makes_the_cluster_broken(cluster: Cluster, whole: Product) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stuck", "namespace": "kube-system"},
                   "spec": {"containers": [{"name": "a", "image": "nowhere.invalid/none:1"}]}})  # fmt: skip
    try:
        until("status to tell of it", 60, lambda: whole.status().returncode == 2)
        _, found = whole.told()
        assert any("kube-system/stuck" in problem for node in found["nodes"] for problem in node["problems"])
    finally:
        cluster.delete("pod", "stuck", "-n", "kube-system")


def test_a_users_pod_that_does_not_run_is_told_and_breaks_nothing(cluster: Cluster, whole: Product) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stuck", "namespace": "default"},
                   "spec": {"containers": [{"name": "a", "image": "nowhere.invalid/none:1"}]}})  # fmt: skip
    try:
        until("status to tell of it", 60, lambda: "default/stuck is" in whole.status().stdout)
        code, found = whole.told()
        assert (code, [node["problems"] for node in found["nodes"]]) == (0, [[], []])
        assert any(pod.startswith("default/stuck is") for pod in found["nodes"][0]["pods_not_running"])
    finally:
        cluster.delete("pod", "stuck")


def test_a_host_that_is_off_is_unknown_and_has_its_row(cluster: Cluster, whole: Product) -> None:
    worker = cluster.workers[0]
    worker.power_off()
    try:
        code, found = whole.told()
        assert (code, [node["state"] for node in found["nodes"]][1:]) == (3, ["unknown"])
        assert f"next: see whether it runs, and whether this works: ssh {worker.address} true" in found["table"]
    finally:
        worker.power_on()
        cluster.wait_works()
        until("the cluster to be healthy", 90, lambda: whole.status().returncode == 0)


@pytest.mark.core
@pytest.mark.promise("two-runs-at-once")
def test_a_second_run_is_refused_and_told_who_is_at_work(cluster: Cluster) -> None:
    # a flag that the scheduler does not know: that run waits for it until its time is over
    data = {"scheduler_extra_args": {"no-such": "1"}, "timeout_for_services": 60}
    holder = cluster.product.begun("cluster", said="Starting operation.*Wait for kube-scheduler", data=data)
    try:
        second = cluster.product.apply()
        assert second.code != 0
        who = f"{getpass.getuser()}@{socket.gethostname()} (process {holder.pid}), since 20"
        assert f"another run is at work there: {who}" in second.stderr
        assert holder.poll() is None, "it waited"
        assert "Traceback" not in second.text
    finally:
        holder.communicate()
    assert holder.returncode != 0
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())


@pytest.mark.core
@pytest.mark.promise("two-runs-at-once")
def test_the_lock_of_a_run_that_was_killed_ends_with_it(cluster: Cluster) -> None:
    holder = cluster.product.begun("cluster", said="Starting operation")
    holder.kill()
    holder.wait()
    cluster.product.apply().check()
