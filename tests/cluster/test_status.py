"""The state of a cluster for people, machines and cron; and one run at a time on a host."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess

import pytest

from .cluster import Cluster
from .product import Data, assert_empty


def _begun(cluster: Cluster, words: str, data: Data | None = None) -> subprocess.Popen[str]:
    """An apply that has printed these words."""
    run = subprocess.Popen(
        cluster.product.argv("cluster", "-y", data=data),
        cwd=cluster.product.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if words in line:
            return run
    raise AssertionError(f"the run ended with {run.wait()} before it said {words!r}")


@pytest.mark.core
def test_a_cluster_that_is_as_it_should_be_is_healthy(cluster: Cluster) -> None:
    cluster.wait_works()
    assert_empty(cluster.product.plan())
    run = cluster.product.status("--json")
    found = json.loads(run.stdout)
    assert [(n["node"], n["role"]) for n in found["nodes"]] == [
        (cluster.master.name, "master"),
        (cluster.workers[0].name, "worker"),
    ]
    for node in found["nodes"]:
        assert node["drift"] == []
        assert node["certificate_days"] > 300
        assert len(set(node["subnet"].values())) == 1
    problems = [p for n in found["nodes"] for p in n["problems"] if "headlamp" not in p]
    assert problems == []
    assert found["not_in_inventory"] == []


@pytest.mark.core
def test_drift_is_told_with_the_lines_that_an_apply_would_change(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    worker.run("chmod 644 /etc/kubernetes/pki/kube-proxy/client.key")
    try:
        run = cluster.product.status()
        assert run.returncode >= 1
        assert "an apply would: Issue certificates" in run.stdout
        assert "/etc/kubernetes/pki/kube-proxy/client.key" in run.stdout
    finally:
        cluster.product.apply().check()
    assert_empty(cluster.product.plan())


@pytest.mark.core
@pytest.mark.promise("two-runs-at-once")
def test_a_second_run_is_refused_and_told_who_is_at_work(cluster: Cluster) -> None:
    # a flag that the scheduler does not know: that run waits for it until its time is over
    data = {"scheduler_extra_args": {"no-such": "1"}, "timeout_for_services": 60}
    holder = _begun(cluster, "Wait for kube-scheduler", data)
    second = cluster.product.apply()
    assert second.code != 0
    who = f"{getpass.getuser()}@{socket.gethostname()} (process {holder.pid}), since 20"
    assert f"another run is at work there: {who}" in second.stderr
    assert holder.poll() is None, "it waited"
    assert "Traceback" not in second.text
    holder.communicate()
    assert holder.returncode != 0
    cluster.product.apply().check()
    assert_empty(cluster.product.plan())


@pytest.mark.core
@pytest.mark.promise("two-runs-at-once")
def test_the_lock_of_a_run_that_was_killed_ends_with_it(cluster: Cluster) -> None:
    holder = _begun(cluster, "Starting operation")
    holder.kill()
    holder.wait()
    cluster.product.apply().check()
