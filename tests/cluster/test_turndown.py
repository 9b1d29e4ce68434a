"""Turning a cluster down: with the data kept, and to the last file. Last: it ends the cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from . import listing
from .cluster import Cluster
from .listing import Listing
from .neighbours import CONTAINERS
from .product import assert_empty

pytestmark = pytest.mark.core

Figure = Callable[[str, float], None]


def test_a_plan_to_turn_down_changes_nothing(cluster: Cluster) -> None:
    before = [listing.identity(listing.take(host)) for host in cluster.hosts]
    plan = cluster.product.plan("turndown", data={"purge_data": True}).check()
    assert {name for hosts in plan.changes.values() for name in hosts} == {host.name for host in cluster.hosts}
    assert [listing.identity(listing.take(host)) for host in cluster.hosts] == before


def test_data_outlives_a_turndown_and_a_new_install(cluster: Cluster, figure: Figure) -> None:
    cluster.kubectl("create", "configmap", "memory", "--from-literal=of=before")
    authority = _authorities(cluster)
    subnets = [host.read("/var/lib/docker-multinode/subnet.env") for host in cluster.hosts]
    run = cluster.product.apply("turndown").check()
    figure("seconds: turndown, data kept", run.seconds)
    for host in cluster.hosts:
        names = host.run("docker ps -a --format '{{.Names}}'").stdout.split()
        assert sorted(names) == sorted(CONTAINERS)
        assert (
            "--bip" not in host.run("tr '\\0' ' ' < /proc/$(systemctl show docker -p MainPID --value)/cmdline").stdout
        )
        assert host.run("systemctl is-active docker-bootstrap", check=False).stdout.strip() == "inactive"
    assert_empty(cluster.product.plan("turndown"))
    run = cluster.product.apply().check()
    figure("seconds: new install on the kept data", run.seconds)
    assert _authorities(cluster) == authority
    assert [host.read("/var/lib/docker-multinode/subnet.env") for host in cluster.hosts] == subnets
    assert cluster.get("configmap", "memory")[0]["data"] == {"of": "before"}
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def _authorities(cluster: Cluster) -> str:
    """Hashes of the authorities, of the service accounts' keys, and of all their private keys."""
    files = " ".join(f"{name}.*" for name in ("ca", "etcd/ca", "front-proxy-ca", "sa"))
    found = cluster.master.run(f"cd /etc/kubernetes/pki && sha256sum {files}").stdout
    assert found.count("\n") == 8
    return found


def test_a_purge_leaves_the_host_as_it_was(cluster: Cluster, before: dict[str, Listing], figure: Figure) -> None:
    run = cluster.product.apply("turndown", data={"purge_data": True}).check()
    figure("seconds: turndown, data purged", run.seconds)
    left = {host.name: listing.difference(before[host.name], listing.take(host)) for host in cluster.hosts}
    assert left == {host.name: [] for host in cluster.hosts}
    assert_empty(cluster.product.plan("turndown", data={"purge_data": True}))


def test_a_new_install_after_a_purge_works(cluster: Cluster) -> None:
    cluster.product.apply().check()
    cluster.deploy_web()
    cluster.wait_works()
    assert cluster.kubectl("get", "configmap", "memory", "--ignore-not-found") == ""
