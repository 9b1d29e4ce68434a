"""The host as a node: its name and ports, what it was before, and whether nodes fit together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ..facts.etcd import EtcdSubnets
from ..facts.files import HostFiles
from ..facts.platform import Platform
from ..observe import ask, observe
from ..phases import pki
from ..record import BOOTSTRAP_UNIT
from ..releases import minor_of
from ..run_nodes import brings_up_the_first_master
from ..settings import Settings
from ..topology import Node, master_name

ONE_FOR_ALL = ("k8s_version", "etcd_version", "flannel_version", "flannel_network", "flannel_backend",
               "service_network", "dns_domain", "dns_server_ip", "master_ip")  # fmt: skip
"""Settings that make one cluster."""
JOINED = {
    "k8s_version": "a kubelet of another minor version does not go with its apiserver",
    "flannel_network": "flannel gives no subnet to a node of another network",
    "service_network": "its Services have their addresses there",
    "dns_server_ip": "pods would ask an address at which no DNS is",
}
"""Settings that a node takes over from the cluster that it joins, and why."""

MASTER_PORTS = {2379: "etcd", 2380: "etcd", 2381: "etcd", 6443: "kube-apiserver", 10257: "kube-controller-manager",
                10259: "kube-scheduler"}  # fmt: skip
NODE_PORTS = {10250: "the kubelet", 10248: "the kubelet", 10249: "kube-proxy", 10256: "kube-proxy",
              10010: "cri-dockerd"}  # fmt: skip


def master_answers(node: Node) -> str | None:
    """A worker joins by its master: certificates, the subnet, the API."""
    if ask(Platform, node.first_master) is None:
        return (
            f"its master {node.first_master.name} can't be reached over ssh; start it, or mend its address in the "
            "inventory"
        )
    return None


def _of_master(node: Node) -> dict[str, str]:
    """Setting → what the cluster has, by its master's record and etcd; only what these say."""
    master, subnets = ask(Platform, node.first_master), ask(EtcdSubnets, node.first_master)
    record = master.record if master else {}
    have = {
        "k8s_version": str(record.get("kubernetes", "")),
        "flannel_network": subnets.network if subnets else "",
        **{key: str(record.get(key, "")) for key in ("service_network", "dns_server_ip")},
    }
    return {setting: value for setting, value in have.items() if value}


def joins_as_it_is(node: Node) -> str | None:
    """A new node takes the cluster as it is, also where the run that made it had other settings than this one."""
    if node.is_first_master or node.found.record or brings_up_the_first_master():
        return None
    for setting, have in _of_master(node).items():
        wanted = getattr(node.settings, setting)
        fits = minor_of(have) == minor_of(wanted) if setting == "k8s_version" else have == wanted
        if not fits:
            return (
                f"would join the cluster of {node.first_master.name}, whose {setting} is {have}, with {wanted}: "
                f"{JOINED[setting]}. Set {setting} to {have}, in group_data/all.py for all later runs"
            )
    return None


def same_node(node: Node) -> str | None:
    """A node keeps its name, role and address."""
    for key in ("name", "role", "address"):
        have = node.found.record.get(key)
        if have and have != getattr(node, key):
            return (
                f"is recorded as a node with the {key} {have}, now it would be {getattr(node, key)}; set it back, "
                "or turn the host down first"
            )
    return None


def takes_nobodys_place(node: Node) -> str | None:
    """What a host says of itself gets into certificates: it is not the master, where it is not, nor the apiserver."""
    wanted = node.settings
    if network := wanted.network_of(node.address):
        return f"has the address {node.address}, which lies in {network}; move the network"
    of_api = {*pki.API_NAMES, f"{pki.API_NAMES[-1]}.{wanted.dns_domain}"}
    if not node.is_first_master:
        of_api |= set(wanted.apiserver_cert_sans)
        if node.address == node.master_address or node.name == master_name(node):
            return (
                f"says that it is {node.name} at {node.address}, but that is the master {node.first_master.name}; set "
                "node_name and ip_address for it"
            )
    if node.name in of_api:
        return f"says that its name is {node.name}, which is one of the apiserver's; set another node_name for it"
    return None


def _of_cluster(node: Node, key: str) -> str:
    """What the record says of the cluster, or where a turndown kept etcd's data, what these are of; else empty."""
    data = node.found.data if node.found.etcd_data else {}
    return str(node.found.record.get(key) or data.get(key, ""))


def same_services(node: Node) -> str | None:
    """Services keep their addresses in etcd, that of the DNS among them, and the API lets nobody change one."""
    for key in ("service_network", "dns_server_ip"):
        have = _of_cluster(node, key)
        if have and have != getattr(node.settings, key):
            what = "is a node" if node.found.record else "has the data"
            return (
                f"{what} of a cluster with the {key} {have}, now it would be {getattr(node.settings, key)}, which "
                f"the addresses of its Services forbid; set it back, or turn {node.turndown_scope} down with "
                "purge_data=true"
            )
    return None


def version_change(node: Node) -> str | None:
    """Another patch of the same minor is applied; an upgrade is more than that. Before etcd has data there is nothing
    to upgrade: a first run ended early. Where the master has its subnet, the disk of the data may not be mounted."""
    begun = node.is_first_master and not (node.found.etcd_data or node.found.flannel)
    have = "" if begun else _of_cluster(node, "kubernetes")
    minor, wanted = minor_of(have), node.settings.k8s_version
    if have and minor != minor_of(wanted):
        verb = "runs" if node.found.record else "has the data of"
        leave = f", or turn this host down first: deploys/turndown.py --limit {node.host.name}"
        return (
            f"{verb} Kubernetes {have}; going to {wanted} is an upgrade of the minor version, which is not supported "
            f"yet. Set k8s_version to a {minor} version{'' if node.is_first_master else leave}"
        )
    return None


def ports(node: Node) -> str | None:
    """Nothing else listens where our programs will."""
    # they are ours by now; what a turndown keeps says nothing, and node.json may have been damaged and taken out
    if node.found.record or observe(HostFiles, node.host).ours(BOOTSTRAP_UNIT):
        return None
    for port, owner in {**(MASTER_PORTS if node.is_master else {}), **NODE_PORTS}.items():
        if port in node.found.listening:
            return f"port {port}, which {owner} needs, is in use; look with: ss -ltnp 'sport = :{port}'"
    return None


def cluster_problems(nodes: list[Node], master: Settings) -> Iterator[str]:
    """What is wrong between nodes: settings that must be the same everywhere, too small a network."""
    for name in ONE_FOR_ALL:
        first: dict[object, str] = {}
        for node in nodes:
            first.setdefault(getattr(node.settings, name), node.host.name)
        # also where the master takes no part in the run
        first.setdefault(getattr(master, name), nodes[0].first_master.name)
        if len(first) > 1:
            said = ", ".join(f"{value} for {host}" for value, host in first.items())
            yield f"{name} must be the same on all nodes, but it is {said}; set it in group_data/all.py"
    room = 2 ** (24 - ipaddress.IPv4Network(nodes[0].settings.flannel_network).prefixlen) - 1
    if len(nodes) > room:
        yield (
            f"flannel_network {nodes[0].settings.flannel_network} has room for {room} nodes (a /24 each, flannel "
            f"leaves the first one out), but the run has {len(nodes)}; take a larger network"
        )
