"""The subnet that a node of this run has or gets."""

from __future__ import annotations

from .facts.etcd import Subnets
from .facts.files import HostFiles
from .observe import observe
from .record import SUBNET_ENV
from .run_nodes import active_nodes
from .subnets import allocate, subnet_in
from .topology import Node


def subnet_of(node: Node, known: Subnets) -> str:
    """The node's subnet: its record's, else its reservation's, else the next free one."""
    nodes = active_nodes()
    records = {n.name: s for n in nodes if (s := subnet_in(n.found.subnet_env))}
    mine = subnet_in(observe(HostFiles).content(SUBNET_ENV))
    if mine:
        records[node.name] = mine
    names = [n.name for n in nodes]
    return allocate(node.settings.flannel_network, records, known, names)[node.name]


def reserved_for_another(node: Node, subnet: str, known: Subnets) -> str | None:
    """The sentence about a subnet of the record that etcd has reserved for another node."""
    other = next((n for n, s in known.reservations.items() if s == subnet and n != node.name), None)
    if not other:
        return None
    return (
        f"{SUBNET_ENV} says {subnet}, which etcd has reserved for node {other}; turn this host down with "
        "purge_data=true to give it another subnet"
    )
