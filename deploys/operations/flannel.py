"""flannel's network in etcd, and the node's subnet: reserved, recorded, taken."""

from __future__ import annotations

import json

from pyinfra import host, state
from pyinfra.api import StringCommand

from .. import subnets
from ..backends import VXLAN_LINK
from ..facts.daemons import DaemonsFact
from ..facts.etcd import ETCDCTL, FLANNEL_PREFIX, LEASES, RESERVATIONS, EtcdSubnets, Subnets, subnet_key
from ..facts.files import HostFiles
from ..facts.kubernetes import ClusterNodes
from ..facts.platform import Platform
from ..node_subnet import reserved_for_another, subnet_of
from ..observe import ask, observe, this_host
from ..operation import Commands, operation
from ..plan import fail, say, say_diff
from ..record import FLANNEL_CONTAINER, FLANNEL_RUN, NODE, SUBNET_ENV
from ..subnets import subnet_in
from ..topology import Node, somebody_else
from .containers import Spec, restart_command, stale
from .files import File, announce, differs, write
from .on_master import etcd_is_silent, on_master

HINT = "KUBE-IPTABLES-HINT"
"""A chain of the kubelet's, in the variant of iptables that it uses (pkg/kubelet/kubelet_network_linux.go)."""


def _same(have: str, want: str) -> bool:
    try:
        return bool(json.loads(have) == json.loads(want))
    except (ValueError, RecursionError):
        return False


@operation
def network_configured(config: str) -> Commands:
    """
    Ensure flannel's network configuration in etcd.

    + config: JSON
    """
    known = observe(EtcdSubnets)
    if _same(known.config, config):
        host.noop("flannel's network is configured")
        return
    if etcd_is_silent(known.answers, this_host()):
        say("Unknown whether flannel's network is configured, etcd does not answer")
    else:
        say_diff("Will configure flannel's network in etcd", [known.config] if known.config else [], [config])
    yield StringCommand(f"{ETCDCTL} put {FLANNEL_PREFIX}/config '{config}'")


def reservation(name: str, subnet: str, known: Subnets) -> str:
    """The command that takes a subnet's key where nobody has it, in one step: two runs may add nodes at one time."""
    key, old = subnet_key(RESERVATIONS, subnet), known.reservations.get(name)
    requests = [f"put {key} {name}", *([f"del {subnet_key(RESERVATIONS, old)}"] if old else [])]
    transaction = "\\n".join([f'version("{key}") = "0"', "", *requests, "", "", ""])
    return (
        f"done=$(printf '{transaction}' | {ETCDCTL} txn) && case $done in SUCCESS*) ;; *) "
        f"echo 'another run has given {subnet} to another node meanwhile; run this again' >&2; exit 1;; esac"
    )


@operation
def subnet_recorded(node: Node, mtu: int) -> Commands:
    """
    Ensure that the node has a subnet for life: reserved in etcd, written to the record.

    + node: the node
    + mtu: of the pod network
    """
    known = observe(EtcdSubnets, node.first_master)
    if state.is_executing and not known.answers:
        yield fail(f"etcd on {node.first_master.name} does not answer, which knows the subnets of the other nodes")
        return
    try:
        subnet = subnet_of(node, known)
    except subnets.NoSubnetLeftError as error:
        yield fail(str(error))
        return
    if sentence := reserved_for_another(node, subnet, known):
        yield fail(sentence)
        return
    text = subnets.environment(node.settings.flannel_network, subnet, mtu, node.settings.flannel_ipmasq)
    want, have = File(SUBNET_ENV, text), observe(HostFiles).ours(SUBNET_ENV)
    reserve = known.reservations.get(node.name) != subnet
    if reserve and etcd_is_silent(known.answers, node.first_master):
        say(f"Unknown whether {subnet} is reserved for node {node.name}, etcd does not answer")
    elif reserve:
        say(f"Will reserve {subnet} for node {node.name} in etcd")
    if differs(have, want):
        announce(have, want)
    if reserve:
        yield on_master(node.first_master, reservation(node.name, subnet, known), f"reserving {subnet}")
    if differs(have, want):
        yield write([want])
    if not reserve and not differs(have, want):
        host.noop(f"the node has {subnet}")


@operation
def link_sized(link: str, mtu: int) -> Commands:
    """
    Ensure that flannel's link carries packets of the pod network's size: flannel keeps a link that it finds as it is
    (pkg/backend/vxlan/device.go, vxlanLinksIncompat), also where the node's interface has got another size since.

    + link: its name
    + mtu: bytes
    """
    found = observe(Platform).interface(link)
    if found is None or found.mtu == mtu:
        host.noop(f"{link} has the packet size of the pod network")
        return
    say(f"Will give {link} the packet size of the pod network, {mtu} instead of {found.mtu}")
    yield StringCommand(f"ip link set dev {link} mtu {mtu}")


@operation
def variant_hinted(spec: Spec) -> Commands:
    """
    Ensure that flannel writes its rules where Docker's are, by nft or legacy: before its container is created, the
    chain by which the kubelet tells its variant is there. flannel's image looks for it at the container's first start,
    takes nft where there is none, and stays at that (images/Dockerfile; kubernetes-sigs/iptables-wrappers).

    + spec: flannel's container as it will be
    """
    have = observe(DaemonsFact).bootstrap.containers.get(FLANNEL_CONTAINER)
    if have and not stale(have, spec):
        host.noop("flannel's container has been created already")
        return
    say(f"Will make the chain {HINT} in iptables' mangle table, as the kubelet does: flannel's image looks for it")
    chain = f"iptables -w -t mangle -{{}} {HINT}"
    yield StringCommand(f"{chain.format('S')} >/dev/null 2>&1 || {chain.format('N')}")


@operation
def subnet_taken(node: Node) -> Commands:
    """
    Ensure that flannel's lease and its run-time file say what the record says.

    + node: the node
    """
    now, known = observe(HostFiles), observe(EtcdSubnets, node.first_master)
    want = subnet_in(now.content(SUBNET_ENV))
    lease = known.leases.get(node.address)
    at_run_time = now.subnet_env.get("FLANNEL_SUBNET")
    wrong_lease = lease is not None and want is not None and lease != want
    # of an address that the node had, or of the machine before it: flannel takes what nobody has a lease of
    holder = next((ip for ip, subnet in known.leases.items() if subnet == want and ip != node.address), None)
    wrong_file = want is None or at_run_time != subnets.gateway(want)
    # no lease while flannel runs: it was deleted, and flannel has not taken it again
    running = FLANNEL_CONTAINER in observe(DaemonsFact).bootstrap.containers
    lost = running and known.answers and lease is None
    # flannel makes a link anew that went with its interface, and tells nobody its new address (vxlan_network.go)
    told, has = known.hardware.get(node.address), observe(Platform).hardware.get(VXLAN_LINK)
    remade = running and None not in (told, has) and told != has
    if remade:
        say(f"{VXLAN_LINK} has the hardware address {has}, and other nodes were told {told}")
    if not (wrong_lease or holder or wrong_file or lost or remade):
        host.noop("flannel has the recorded subnet")
        return
    again = f"; {restart_command('bootstrap', FLANNEL_CONTAINER)}" if running else ""
    if wrong_lease:
        say(f"Will delete flannel's lease {lease}: the record says {want}")
    if holder:
        say(f"Will delete the lease {want} of {holder}: it is the subnet of node {node.name}")
    say(f"Will give flannel the recorded subnet in {FLANNEL_RUN}/subnet.env" + (" and restart it" if again else ""))
    for old in (lease if wrong_lease else None, want if holder else None):
        if old:
            delete = f"{ETCDCTL} del {subnet_key(LEASES, old)}"
            yield on_master(node.first_master, delete, f"deleting the lease {old}")
    yield StringCommand(f"mkdir -p {FLANNEL_RUN} && cp {SUBNET_ENV} {FLANNEL_RUN}/subnet.env{again}")


def _own_keys(node: Node, known: Subnets) -> list[str]:
    """Keys of the subnet that the node had by its record; none where another machine is the node by now."""
    name, address = node.joined_as, str(node.found.record.get("address") or node.address)
    there = (ask(ClusterNodes, node.first_master) or {}).get(name)  # this machine's own is deleted by now
    if other := somebody_else(node, name, there):
        say(f"Node {name} is {other}: its subnet stays")
        return []
    subnets = ((RESERVATIONS, known.reservations.get(name)), (LEASES, known.leases.get(address)))
    return [subnet_key(prefix, subnet) for prefix, subnet in subnets if subnet]


@operation
def subnet_released(node: Node) -> Commands:
    """
    Give the node's subnet back, where etcd still answers.

    + node: the node
    """
    known = None if node.is_first_master else ask(EtcdSubnets, node.first_master)
    now = observe(HostFiles)
    if now.ours(SUBNET_ENV) and not node.is_first_master and (known is None or not known.answers):
        say(f"etcd on {node.first_master.name} does not answer: it keeps the subnet reserved for node {node.joined_as}")
    # without a record the name and the address may be another machine's
    keys = _own_keys(node, known) if known and (now.ours(SUBNET_ENV) or now.ours(NODE)) else []
    if not keys:
        host.noop("etcd knows no subnet of this node")
        return
    say(f"Will delete the reservation of node {node.joined_as} in etcd")
    delete = " && ".join(f"{ETCDCTL} del {key}" for key in keys)
    yield on_master(node.first_master, delete, "giving the subnet back")
