"""flannel's network in etcd, and the node's subnet: reserved, recorded, taken."""

from __future__ import annotations

import json

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .. import subnets
from ..facts.daemons import DaemonsFact
from ..facts.etcd import ETCDCTL, FLANNEL_PREFIX, RESERVATIONS, EtcdSubnets, Subnets
from ..facts.files import HostFiles
from ..observe import Commands, ask, forget, observe, operation
from ..plan import fail, say, say_diff
from ..record import FLANNEL_RUN, SUBNET_ENV
from ..remote import run
from ..topology import Node, active_nodes
from .containers import docker
from .files import File, announce, differs, write


def _on_master(state: State, host: Host, master: Host, command: str, doing: str) -> bool:
    ok, out, err = run(master, command)
    forget(master)
    if not ok:
        host.log(f"{doing} on {master.name} failed: {(err or out).strip()}")
    return ok


def on_master(master: Host, command: str, doing: str) -> FunctionCommand:
    """Run a command at etcd on the first master, on behalf of this host."""
    return FunctionCommand(_on_master, (master, command, doing), {})


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
    say_diff("Will configure flannel's network in etcd", [known.config] if known.config else [], [config])
    yield StringCommand(f"{ETCDCTL} put {FLANNEL_PREFIX}/config '{config}'")


def recorded(text: str) -> str | None:
    """The subnet in a subnet.env, as a network: 10.1.3.1/24 → 10.1.3.0/24."""
    for line in text.splitlines():
        if line.startswith("FLANNEL_SUBNET="):
            address, _, prefix = line.split("=", 1)[1].partition("/")
            return f"{address.rsplit('.', 1)[0]}.0/{prefix}"
    return None


def subnet_of(node: Node, known: Subnets) -> str:
    """The node's subnet: its record's, else its reservation's, else the next free one."""
    nodes = active_nodes()
    records = {n.name: s for n in nodes if (s := recorded(n.found.subnet_env))}
    mine = recorded(observe(HostFiles).content(SUBNET_ENV))
    if mine:
        records[node.name] = mine
    names = [n.name for n in nodes]
    return subnets.allocate(node.settings.flannel_network, records, known, names)[node.name]


@operation
def subnet_recorded(node: Node, mtu: int) -> Commands:
    """
    Ensure that the node has a subnet for life: reserved in etcd, written to the record.

    + node: the node
    + mtu: of the pod network
    """
    known = observe(EtcdSubnets, node.first_master)
    try:
        subnet = subnet_of(node, known)
    except subnets.NoSubnetLeftError as error:
        yield fail(str(error))
        return
    other = next((n for n, s in known.reservations.items() if s == subnet and n != node.name), None)
    if other:
        yield fail(
            f"{SUBNET_ENV} says {subnet}, which etcd has reserved for node {other}; turn this host down "
            "with purge_data=true to give it another subnet"
        )
        return
    text = subnets.environment(node.settings.flannel_network, subnet, mtu, node.settings.flannel_ipmasq)
    want, have = File(SUBNET_ENV, text), observe(HostFiles).ours(SUBNET_ENV)
    reserve = known.reservations.get(node.name) != subnet
    if reserve:
        say(f"Will reserve {subnet} for node {node.name} in etcd")
    if differs(have, want):
        announce(have, want)
    if reserve:
        key = f"{RESERVATIONS}/{node.name}"
        yield on_master(node.first_master, f"{ETCDCTL} put {key} {subnet}", f"reserving {subnet}")
    if differs(have, want):
        yield write([want])
    if not reserve and not differs(have, want):
        host.noop(f"the node has {subnet}")


@operation
def subnet_taken(node: Node) -> Commands:
    """
    Ensure that flannel's lease and its run-time file say what the record says.

    + node: the node
    """
    now, known = observe(HostFiles), observe(EtcdSubnets, node.first_master)
    want = recorded(now.content(SUBNET_ENV))
    lease = known.leases.get(node.address)
    at_run_time = now.subnet_env.get("FLANNEL_SUBNET")
    wrong_lease = lease is not None and want is not None and lease != want
    wrong_file = want is None or at_run_time != subnets.gateway(want)
    # no lease while flannel runs: it was deleted, and flannel has not taken it again
    running = "flannel" in observe(DaemonsFact).bootstrap.containers
    lost = running and known.answers and lease is None
    if not (wrong_lease or wrong_file or lost):
        host.noop("flannel has the recorded subnet")
        return
    if wrong_lease:
        say(f"Will delete flannel's lease {lease}: the record says {want}")
        key = f"{FLANNEL_PREFIX}/subnets/{str(lease).replace('/', '-')}"
        yield on_master(node.first_master, f"{ETCDCTL} del {key}", f"deleting the lease {lease}")
    again = f"; {docker('bootstrap')} restart -t 5 flannel >/dev/null" if running else ""
    say(f"Will give flannel the recorded subnet in {FLANNEL_RUN}/subnet.env" + (" and restart it" if again else ""))
    yield StringCommand(f"mkdir -p {FLANNEL_RUN} && cp {SUBNET_ENV} {FLANNEL_RUN}/subnet.env{again}")


@operation
def subnet_released(node: Node) -> Commands:
    """
    Give the node's subnet back, where etcd still answers.

    + node: the node
    """
    known = None if node.is_first_master else ask(EtcdSubnets, node.first_master)
    mine = observe(HostFiles).ours(SUBNET_ENV)
    if mine and not node.is_first_master and (known is None or not known.answers):
        say(f"etcd on {node.first_master.name} does not answer: it keeps the subnet reserved for node {node.name}")
    if known is None or (node.name not in known.reservations and node.address not in known.leases):
        host.noop("etcd knows no subnet of this node")
        return
    say(f"Will delete the reservation of node {node.name} in etcd")
    lease = known.leases.get(node.address, "").replace("/", "-")
    also = f"; {ETCDCTL} del {FLANNEL_PREFIX}/subnets/{lease}" if lease else ""
    yield on_master(node.first_master, f"{ETCDCTL} del {RESERVATIONS}/{node.name}{also}", "giving the subnet back")
