"""One setting changes: the plan names what follows from it, only that restarts (issue 3, e)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from . import listing
from .cluster import BOOTSTRAP, Cluster, web
from .product import Data, Run, assert_empty
from .waiting import until


@dataclass
class Change:
    """A setting that was changed: its plan, and what it restarted."""

    plan: Run
    restarted: dict[str, set[str]]
    """Host → containers (and dockerd) that are others or started anew, pods by their container's name."""


def _running(cluster: Cluster) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for host in cluster.hosts:
        found[host.name] = {}
        for daemon, lines in listing.identity(listing.take(host)).items():
            for line in lines:
                name, rest = line.lstrip("/").split(" ", 1)
                name = "_".join(name.split("_")[1:3]) if name.startswith("k8s_") else name
                key = f"{daemon.removesuffix(' identity')} dockerd" if name == "dockerd" else name
                if "headlamp" not in name:
                    found[host.name][key] = rest
    return found


def _change(cluster: Cluster, data: Data) -> Change:
    plan = cluster.product.plan(data=data).check()
    before = _running(cluster)
    cluster.product.apply(data=data).check()
    cluster.wait_works()
    after = _running(cluster)
    restarted = {
        host: {n for n in {*before[host], *after[host]} if before[host].get(n) != after[host].get(n)} for host in before
    }
    assert_empty(cluster.product.plan(data=data))
    return Change(plan, restarted)


@pytest.fixture
def set_back(cluster: Cluster) -> Iterator[None]:
    """The settings of before, and a cluster that works with them."""
    yield
    cluster.product.apply().check()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


@pytest.mark.core
def test_an_argument_of_the_apiserver(cluster: Cluster, set_back: None) -> None:
    change = _change(cluster, {"apiserver_extra_args": {"v": "1"}})
    assert change.plan.moved == ['+     - "--v=1"']
    master, worker = (host.name for host in cluster.hosts)
    assert change.restarted == {master: _of_pod("kube-apiserver", master), worker: set()}


def _of_pod(name: str, host: str) -> set[str]:
    """A static pod's containers; a changed manifest makes it another pod, so its sandbox is another one too."""
    return {f"{container}_{name}-{host}" for container in ("POD", name)}


def test_the_image_of_flannel(cluster: Cluster, set_back: None) -> None:
    image = cluster.master.run(f"{BOOTSTRAP} inspect -f '{{{{.Config.Image}}}}' flannel").stdout.strip()
    name, _, tag = image.rpartition(":")
    again = f"{name}:{tag}-again"
    cluster.master.run(f"{BOOTSTRAP} tag {image} {again} && {BOOTSTRAP} push -q {again} && {BOOTSTRAP} rmi {again}")
    change = _change(cluster, {"flannel_version": f"{tag}-again"})
    assert change.plan.moved == [f"-image {image}", f"+image {again}"] * 2
    assert change.restarted == {host.name: {"flannel"} for host in cluster.hosts}


def test_the_dns_domain(cluster: Cluster, set_back: None) -> None:
    change = _change(cluster, {"dns_domain": "example.internal"})
    told = [line for line in change.plan.moved if "revision" not in line and "REVISION" not in line]
    assert told
    assert not [line for line in told if "cluster.local" not in line and "example.internal" not in line]
    master, worker = (set(change.restarted[host.name]) for host in cluster.hosts)
    assert "kubelet" in master & worker
    assert not {"diary", "shop", "docker dockerd"} & (master | worker)
    cluster.delete("pod", "-l", "app=web")
    cluster.deploy_web()
    cluster.wait_works()
    for host in cluster.hosts:
        ask = "getent ahostsv4 kubernetes.default.svc.example.internal && getent ahostsv4 kubernetes"
        assert "10.96.0.1" in cluster.in_pod(host, web(host), ask)


def test_an_addon_that_is_switched_off(cluster: Cluster, set_back: None) -> None:
    change = _change(cluster, {"addons": "coredns,metrics-server"})
    assert any("Will delete" in line and "headlamp" in line for line in change.plan.diff)
    assert not any(change.restarted.values())
    until("headlamp to be gone", 60, lambda: not cluster.get("deployments", "-A", "-l", "k8s-app=headlamp"))
