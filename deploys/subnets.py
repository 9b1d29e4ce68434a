"""Which part of the pod network a node gets, for life. Pure: the same answer on every host of a run."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from pyinfra.api import DeployError

from .facts.etcd import Subnets

OVERHEAD = {"vxlan": 50, "host-gw": 0}
"""Bytes that a backend takes of each packet (flannel's pkg/backend)."""


class NoSubnetLeftError(DeployError):
    """The pod network has no free /24."""


def allocate(network: str, recorded: Mapping[str, str], known: Subnets, newcomers: Sequence[str]) -> dict[str, str]:
    """The subnet of each node.

    :param network: the pod network.
    :param recorded: node → subnet, from the nodes' own records; they decide.
    :param known: reservations and leases in etcd.
    :param newcomers: nodes of this run in the inventory's order; those without a subnet get the next
        free one in this order, so that hosts that run side by side agree.
    :raises NoSubnetLeftError: there is none.
    """
    result = {**known.reservations, **recorded}
    taken = set(result.values()) | set(known.leases.values())
    free = (s for s in _candidates(network) if s not in taken)
    for name in newcomers:
        if name not in result:
            subnet = next(free, None)
            if subnet is None:
                raise NoSubnetLeftError(f"the pod network {network} has no /24 left for {name}")
            result[name] = subnet
    return result


def _candidates(network: str) -> Iterable[str]:
    subnets = ipaddress.IPv4Network(network).subnets(new_prefix=24)
    next(subnets)  # flannel leaves the first one out: it shares its address with the network
    return map(str, subnets)


def gateway(subnet: str) -> str:
    """docker0's address in a subnet, with prefix length: 10.1.3.0/24 → 10.1.3.1/24."""
    network = ipaddress.IPv4Network(subnet)
    return f"{network[1]}/{network.prefixlen}"


def variables(text: str) -> dict[str, str]:
    """What a subnet.env says."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def environment(network: str, subnet: str, mtu: int, ipmasq: bool) -> str:
    """The text of subnet.env, as flannel writes it (pkg/subnet/subnet.go WriteSubnetFile)."""
    return (
        f"FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={gateway(subnet)}\n"
        f"FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ={str(ipmasq).lower()}\n"
    )
