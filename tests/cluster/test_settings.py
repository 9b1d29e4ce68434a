"""One setting changes: the plan names what follows from it, only that restarts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from . import listing
from .cluster import BOOTSTRAP, Cluster, web
from .product import Data, Run, assert_empty
from .report import Figure
from .waiting import until


@dataclass
class Change:
    """A setting that was changed: its plan, and what it restarted."""

    plan: Run
    seconds: float
    """Of the apply."""
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
    applied = cluster.product.apply(data=data).check()
    cluster.wait_works()
    after = _running(cluster)
    restarted = {
        host: {n for n in {*before[host], *after[host]} if before[host].get(n) != after[host].get(n)} for host in before
    }
    assert_empty(cluster.product.plan(data=data))
    return Change(plan, applied.seconds, restarted)


def test_an_argument_of_the_apiserver(cluster: Cluster, set_back: None, figure: Figure) -> None:
    change = _change(cluster, {"apiserver_extra_args": {"v": "1"}})
    figure("seconds: apply of a changed argument of the apiserver", change.seconds)
    assert [line.strip("+ ") for line in change.plan.moved] == ['- "--v=1"']
    master, worker = (host.name for host in cluster.hosts)
    pod = {f"{container}_kube-apiserver-{master}" for container in ("POD", "kube-apiserver")}
    # these two end by themselves when the API is away for longer than their lease, and are started again
    leased = {f"{name}_{name}-{master}" for name in ("kube-scheduler", "kube-controller-manager")}
    assert pod <= change.restarted[master] <= pod | leased
    assert change.restarted[worker] == set()


@pytest.mark.core
def test_the_image_of_flannel(cluster: Cluster, set_back: None) -> None:
    image = cluster.master.run(f"{BOOTSTRAP} inspect -f '{{{{.Config.Image}}}}' flannel").stdout.strip()
    name, _, tag = image.rpartition(":")
    again = f"{name}:{tag}-again"
    cluster.master.run(f"{BOOTSTRAP} tag {image} {again} && {BOOTSTRAP} push -q {again} && {BOOTSTRAP} rmi {again}")
    change = _change(cluster, {"flannel_version": f"{tag}-again"})
    assert change.plan.moved == [f"-image {image}", f"+image {again}"] * 2
    assert change.restarted == {host.name: {"flannel"} for host in cluster.hosts}


def test_who_masquerades(cluster: Cluster, set_back: None) -> None:
    """Docker instead of flannel: what leaves the pod network would else be rewritten by both until the next boot."""
    change = _change(cluster, {"flannel_ipmasq": False})
    assert all("docker dockerd" in change.restarted[host.name] for host in cluster.hosts)
    for host in cluster.hosts:
        rules = host.run("iptables-save -t nat").stdout
        assert "FLANNEL-" not in rules
        assert "! -o docker0 -j MASQUERADE" in rules


def test_the_dns_domain(cluster: Cluster, set_back: None) -> None:
    change = _change(cluster, {"dns_domain": "example.internal"})
    assert change.plan.moved
    assert not [line for line in change.plan.moved if "cluster.local" not in line and "example.internal" not in line]
    master, worker = (set(change.restarted[host.name]) for host in cluster.hosts)
    assert "kubelet" in master & worker
    assert not {"diary", "shop", "docker dockerd"} & (master | worker)
    cluster.delete("pod", "-l", "app=web")
    cluster.deploy_web()
    cluster.wait_works()
    ask = "getent ahostsv4 kubernetes.default.svc.example.internal && getent ahostsv4 kubernetes"
    # a replica of CoreDNS that is being replaced still answers with the old domain
    until("the new domain", 60, lambda: all("10.96.0.1" in cluster.in_pod(h, web(h), ask) for h in cluster.hosts))


def test_an_addon_that_is_switched_off(cluster: Cluster, set_back: None) -> None:
    change = _change(cluster, {"addons": "coredns,metrics-server"})
    assert any("Will delete" in line and "headlamp" in line for line in change.plan.diff)
    assert not any(change.restarted.values())
    until("headlamp to be gone", 60, lambda: not cluster.get("deployments", "-A", "-l", "k8s-app=headlamp"))
