"""Which part of the pod network a node gets, for life. Pure: the same answer on every host of a run."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from pyinfra.api import DeployError

from .facts.etcd import Subnets
from .facts.sections import variables


class NoSubnetLeftError(DeployError):
    """The pod network has no free /24."""


def subnet_in(text: str) -> str | None:
    """The subnet in a subnet.env, as a network: 10.1.3.1/24 → 10.1.3.0/24."""
    try:
        return str(ipaddress.IPv4Interface(variables(text.splitlines())["FLANNEL_SUBNET"]).network)
    except (KeyError, ValueError):
        return None  # preflight refuses one that can't be read with a sentence


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


DOCKER_POOLS = (("172.17.0.0/16", 16), ("172.18.0.0/16", 16), ("172.19.0.0/16", 16), ("172.20.0.0/14", 16),
                ("172.24.0.0/14", 16), ("172.28.0.0/14", 16), ("192.168.0.0/16", 20))  # fmt: skip
"""What Docker takes its networks from, and their prefix lengths (moby daemon/libnetwork/ipamutils)."""


_HALF = 1
"""Prefix length of a VPN's two routes to half of all addresses each, which stand for a default route (OpenVPN's
redirect-gateway def1): no network lies beside both of them, and each other route goes before them."""


def bridge_address(
    before: str, networks: Mapping[str, str], routes: Iterable[str], pools: Iterable[tuple[str, int]]
) -> tuple[str, str | None]:
    """The address that docker0 can have: the one before us, or the first free one as Docker would choose it.

    :param before: with prefix length.
    :param networks: subnet of each network of Docker → its name.
    :param routes: networks that the host has routes to.
    :param pools: network and prefix length of what Docker chooses from.
    :returns: the address (the old one where nothing is free), and the network that has the old one.
    """
    old = ipaddress.IPv4Interface(before)
    taken = {network: name for subnet, name in networks.items() if (network := _network(subnet))}
    rival = next((name for network, name in taken.items() if network.overlaps(old.network)), None)
    if rival is None:
        return before, None
    used = [*taken, *filter(None, map(destination, routes))]
    for base, length in pools:
        pool = _network(base)
        for subnet in pool.subnets(new_prefix=length) if pool and pool.prefixlen <= length <= 30 else ():
            if not any(subnet.overlaps(other) for other in used):
                return gateway(str(subnet)), rival
    return before, rival


def destination(route: str) -> ipaddress.IPv4Network | None:
    """The network that a route leads to; None where it stands for the default route, or is none of IPv4."""
    network = _network(route)
    return network if network and network.prefixlen > _HALF else None


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:  # IPv6, "unreachable"
        return None


def gateway(subnet: str) -> str:
    """docker0's address in a subnet, with prefix length: 10.1.3.0/24 → 10.1.3.1/24."""
    network = ipaddress.IPv4Network(subnet)
    return f"{network[1]}/{network.prefixlen}"


def environment(network: str, subnet: str, mtu: int, ipmasq: bool) -> str:
    """The text of subnet.env, as flannel writes it (pkg/subnet/subnet.go WriteSubnetFile)."""
    return (
        f"FLANNEL_NETWORK={network}\nFLANNEL_SUBNET={gateway(subnet)}\n"
        f"FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ={str(ipmasq).lower()}\n"
    )
