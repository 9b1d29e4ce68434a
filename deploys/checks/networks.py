"""The pod and service networks: free on the host, and those that the cluster has."""

from __future__ import annotations

import ipaddress

from ..backends import LINKS
from ..facts.etcd import RESERVATIONS, EtcdSubnets
from ..node_subnet import reserved_for_another, subnet_of
from ..observe import ask, observe
from ..remote import own_address
from ..run_nodes import active_nodes, brings_up_the_first_master
from ..subnets import NoSubnetLeftError, destination, subnet_in
from ..topology import Node


def routes(node: Node) -> str | None:
    """The pod and service networks overlap no route of the host."""
    wanted = {"flannel_network": node.settings.flannel_network, "service_network": node.settings.service_network}
    # docker0 is about to move into the pod network; once it did, routes to other nodes' subnets are flannel's
    ours = {"docker0"} | ({*LINKS, node.interface.name} if node.found.subnet_env else set())
    for route in node.found.routes:
        there, _, device = route.partition(" ")
        network = destination(there)
        if network is None:
            continue
        if node.found.subnet_env and network.prefixlen < ipaddress.IPv4Network(wanted["flannel_network"]).prefixlen:
            continue  # a VPN's, say, that came later: flannel's routes go before it, and none leads to a Service
        for setting, value in wanted.items():
            pods = ipaddress.IPv4Network(value)
            own = setting == "flannel_network" and device in ours
            if network.overlaps(pods) and not (own and (device == "docker0" or network.subnet_of(pods))):
                return f"{setting} {value} overlaps the host's route to {there} by {device}; move the network"
    return None


def beyond_the_routes(node: Node) -> str | None:
    """Who must still be reached when docker0 has its address lies in none of the networks, also where only the default
    route leads there: the name servers, and this machine."""
    if node.found.subnet_env:
        return None
    others = dict.fromkeys(node.found.resolvers or (), "the host's name server")
    if mine := own_address(node.host):
        others[mine] = "this machine"
    for address, who in others.items():
        if network := node.settings.network_of(address):
            return (
                f"{network} has {who} in it, {address}, which the host would not reach any more; set another network, "
                "in which none of your machines is"
            )
    return None


def recorded_network(node: Node) -> str | None:
    """A node keeps its subnet for life, so the pod network can't move under it."""
    have = node.found.flannel.get("FLANNEL_NETWORK")
    if have and have != node.settings.flannel_network:
        return (
            f"is a node in the pod network {have}; flannel_network can't be changed under it. Set it back, or turn "
            f"{node.turndown_scope} down with purge_data=true"
        )
    return None


def subnet_left(node: Node) -> str | None:
    """The pod network has a /24 for the node; nodes that were there before keep theirs, and have it alone."""
    known = observe(EtcdSubnets, node.first_master)
    mine = subnet_in(node.found.subnet_env)
    for other in active_nodes():
        if mine and other.host is not node.host and subnet_in(other.found.subnet_env) == mine:
            return (
                f"its record and that of {other.host.name} have the same subnet {mine}; turn the one of them that is "
                "no node of this cluster down with purge_data=true"
            )
    try:
        return reserved_for_another(node, subnet_of(node, known), known)
    except NoSubnetLeftError as error:
        names = ", ".join(sorted(known.reservations))
        return (
            f"{error}; etcd has reserved one each for {names}. Turn a node that is no longer needed down with "
            f"purge_data=true, or where it is gone delete its subnet's key below {RESERVATIONS}/ in etcd"
        )


def same_backend(node: Node) -> str | None:
    """flannel takes its backend from etcd, where a run that brings up the master writes it."""
    if node.is_first_master or brings_up_the_first_master():
        return None
    known, wanted = ask(EtcdSubnets, node.first_master), node.settings.flannel_backend
    have = known.backend if known else ""
    if have and have != wanted:
        return f"flannel_backend is {wanted}, the cluster's is {have}; change it with deploys/cluster.py, for all nodes"
    return None
