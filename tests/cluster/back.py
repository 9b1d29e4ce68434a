"""Whether a cluster came back by itself, all of it."""

from __future__ import annotations

import time

from . import neighbours
from .cluster import Cluster, web
from .product import assert_empty
from .report import Figure
from .waiting import until


def back(cluster: Cluster, figure: Figure, what: str, begin: float | None = None) -> None:
    """Wait until the cluster is back: pods, API and users' containers; and until the plan is empty by itself.

    :param what: what happened, for the figure.
    :param begin: when it happened, by time.monotonic(); by default now.
    """
    begin = time.monotonic() if begin is None else begin
    cluster.wait_works()
    until("the API to write, and each kubelet to run a command", 60, lambda: _obeys(cluster, what))
    for host in cluster.hosts:
        until(f"the user's containers on {host.name}", 30, lambda host=host: neighbours.run_on(host))  # type: ignore[misc]
    figure(f"seconds: {what}, until all works", time.monotonic() - begin)
    # Docker 28 that was killed often ends and starts a container some times more before it stays
    until("the plan to be empty", 120, lambda: _whole(cluster))


def _obeys(cluster: Cluster, what: str) -> bool:
    # a Ready of before may still be told by the API; a command in a pod goes through kubelet and cri-dockerd
    note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}, "data": {"last": what}}
    cluster.apply(note)
    for host in cluster.hosts:
        cluster.kubectl("exec", web(host), "-c", "client", "--", "true")
    return bool(cluster.get("configmap", "note")[0]["data"]["last"] == what)


def _whole(cluster: Cluster) -> bool:
    assert_empty(cluster.product.plan())
    return True
