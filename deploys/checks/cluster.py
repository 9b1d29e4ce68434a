"""The host as a node: networks, ports, what it was before, and whether nodes fit together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from .. import x509
from ..facts.etcd import RESERVATIONS, EtcdSubnets
from ..facts.files import HostFiles
from ..facts.platform import Platform
from ..observe import ask, observe
from ..operations.flannel import recorded, reserved_for_another, subnet_of
from ..phases import pki
from ..record import BEFORE_PATHS, BOOTSTRAP_UNIT, ETCD_DATA, PKI
from ..releases import minor_of
from ..remote import own_address
from ..settings import Settings
from ..subnets import NoSubnetLeftError, destination
from ..topology import Node, active_nodes, brings_up_the_first_master, master_name

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


def routes(node: Node) -> str | None:
    """The pod and service networks overlap no route of the host."""
    wanted = {"flannel_network": node.settings.flannel_network, "service_network": node.settings.service_network}
    # docker0 is about to move into the pod network; once it did, routes to other nodes' subnets are flannel's
    ours = {"docker0"} | ({"flannel.1", node.interface.name} if node.found.subnet_env else set())
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


def _concerned(node: Node) -> str:
    """What is turned down where a node can't stay as it is: with its first master the cluster's data go."""
    return "the cluster" if node.is_first_master else "this host"


def recorded_network(node: Node) -> str | None:
    """A node keeps its subnet for life, so the pod network can't move under it."""
    have = node.found.flannel.get("FLANNEL_NETWORK")
    if have and have != node.settings.flannel_network:
        return (
            f"is a node in the pod network {have}; flannel_network can't be changed under it. Set it back, or turn "
            f"{_concerned(node)} down with purge_data=true"
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


def subnet_left(node: Node) -> str | None:
    """The pod network has a /24 for the node; nodes that were there before keep theirs, and have it alone."""
    known = observe(EtcdSubnets, node.first_master)
    mine = recorded(node.found.subnet_env)
    for other in active_nodes():
        if mine and other.host is not node.host and recorded(other.found.subnet_env) == mine:
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
                f"the addresses of its Services forbid; set it back, or turn {_concerned(node)} down with "
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


def foreign_kubernetes(node: Node) -> str | None:
    """Another installer's cluster is not overwritten."""
    if node.found.foreign_kubernetes:
        return (
            f"{node.found.foreign_kubernetes[0]} is there, and not from us: another Kubernetes seems to be "
            "installed; remove it first (kubeadm reset), or move that file away"
        )
    return None


def purges_no_other_kubernetes(node: Node) -> str | None:
    """What a turndown kept has the names that any Kubernetes gives its files: one that came since may have them now."""
    found = node.found.foreign_kubernetes
    if not node.settings.purge_data or not found or not observe(HostFiles, node.host).below(PKI):
        return None
    return (
        f"{found[0]} is there, and not from us: another Kubernetes seems to be installed, and purge_data would remove "
        "its authorities and data with what we kept; remove that one first (kubeadm reset), or move that file away"
    )


def keeps_no_other_authority(node: Node) -> str | None:
    """A worker gets the authorities of its cluster: those of another one are never overwritten, neither what a turndown
    kept, which is nowhere else, nor what a node at work has."""
    if node.is_first_master:
        return None
    mine, theirs = observe(HostFiles, node.host), observe(HostFiles, node.first_master)
    for path in pki.AUTHORITIES:
        certificate = f"{path}.crt"
        have, wanted = mine.content(certificate), theirs.content(certificate)
        if have in ("", wanted):
            continue
        if mine.ours(f"{path}.key"):
            return (
                f"was the master of another cluster and keeps that one's authorities and data; its {certificate} would "
                "be overwritten. Where they may be deleted: deploys/turndown.py with purge_data=true for this host"
            )
        if node.found.record and wanted and x509.is_authority(have) and not x509.same(have, wanted):
            return (
                f"is a node of another cluster: its {certificate} is not the one of {node.first_master.name}. Where "
                "that master was made anew by mistake, put its backup back (docs/backup.md); else turn this host down "
                "first"
            )
    return None


def etcd_has_its_authority(node: Node) -> str | None:
    """A cluster that has data keeps its authorities: new ones would lock out etcd's clients, nodes and pods."""
    if not node.is_first_master or not node.found.etcd_data:
        return None
    files = observe(HostFiles, node.host).files
    lost = next((path for path in pki.authority_files() if path not in files or not files[path].size), None)
    if lost is None:
        return None
    return (
        f"has etcd data in {ETCD_DATA}, but {lost}, without which they can't be used, is gone; put it back, from a "
        "backup if need be (docs/backup.md), or where nobody needs the data any more move them away"
    )


def etcd_data_are_ours(node: Node) -> str | None:
    """A restore puts its data in the place of the cluster's own, never of somebody else's: a turndown would leave what
    it then finds there as theirs."""
    before = (*node.found.there_before, *observe(HostFiles, node.host).content(BEFORE_PATHS).splitlines())
    if node.is_first_master and f"{ETCD_DATA}/member" in before:
        return f"has data in {ETCD_DATA}/member that were there before docker-multinode; move them away first"
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
