"""The control plane at the master's address: what it is told by, and what listens there."""

from __future__ import annotations

import pytest

from deploys import static_pods
from deploys.phases import etcd
from deploys.topology import Node

from . import machines
from .harness import World


def node(master_ip: str | None = None, *, own: bool = True) -> Node:
    """A master whose nodes reach it at that address, on an interface of its own or before a forwarder."""
    addresses = "24: eth0    inet 10.0.0.11/24 scope global eth0"
    if own:
        addresses += "\n25: eth1    inet 192.168.7.11/24 scope global eth1"
    found = machines.found("m1", "10.0.0.11", addresses=addresses)
    return World(data={"master_ip": master_ip} if master_ip else {}, platforms={"m1": found}).node()


def revisions(node: Node) -> dict[str, str]:
    """Static pod → its revision."""
    return {pod.name: pod.revision for pod in static_pods.static_pods(node)}


def test_another_master_address_replaces_the_pods_that_read_it_in_a_kubeconfig_at_their_start() -> None:
    before, after = revisions(node()), revisions(node("192.168.7.11"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"kube-controller-manager", "kube-scheduler", "kube-proxy"}


@pytest.mark.parametrize(
    ("master_ip", "own", "addresses"),
    [
        (None, True, ["127.0.0.1", "10.0.0.11"]),
        ("10.0.0.11", True, ["127.0.0.1", "10.0.0.11"]),
        ("192.168.7.11", True, ["127.0.0.1", "10.0.0.11", "192.168.7.11"]),
        ("192.168.7.11", False, ["127.0.0.1", "10.0.0.11"]),
    ],
)
def test_etcd_listens_at_the_masters_address_where_the_host_has_it(
    master_ip: str | None, own: bool, addresses: list[str]
) -> None:
    (flag,) = (word for word in etcd.spec(node(master_ip, own=own)).command if word.startswith("--listen-client-urls="))
    assert flag.split("=", 1)[1].split(",") == [f"https://{address}:2379" for address in addresses]
