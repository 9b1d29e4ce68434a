"""Machines and nodes that do not belong together: replaced by a new one, or gone from the inventory."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence

from gevent.lock import RLock
from pyinfra.api.state import State

from ..facts.kubernetes import ClusterNodes, NodeState
from ..facts.platform import Platform
from ..observe import ask, ask_all
from ..record import ETCD_DATA
from ..run_nodes import brings_up_the_first_master
from ..topology import Node, group

RESTORE = (
    "put a backup back with deploys/restore.py (docs/backup.md); or give the cluster up: first turn its other nodes "
    "down with purge_data=true"
)


_asked: weakref.WeakSet[State] = weakref.WeakSet()
"""Runs that have looked for every worker of the inventory."""
_lock = RLock()


def _in_the_api(node: Node) -> Mapping[str, NodeState]:
    """What the API knows of nodes, for one that joins them; nothing where there is no API yet."""
    if node.is_first_master:
        return {}
    master = ask(Platform, node.first_master)
    if master is None or not master.record:
        return {}
    return ask(ClusterNodes, node.first_master) or {}


def _where_it_replaces(name: str) -> str:
    return (
        "Where it replaces that one: switch that one off, and run this again when the node is no longer Ready (a "
        f"minute), or after: kubectl delete node {name}"
    )


def predecessor(node: Node) -> NodeState | None:
    """What the API knows by this node's name, where that is another machine than this one, which was never a node."""
    if node.found.record:
        return None
    have = _in_the_api(node).get(node.name)
    if have is None or (have.machine_id == node.found.machine_id and have.address == node.address):
        return None
    return have


def name_is_free(node: Node) -> str | None:
    """No other machine is a node by this name and at work: two would take one subnet, and each other's pods."""
    have = predecessor(node)
    if have is None or not have.ready:
        return None
    return (
        f"another machine ({have.address}, machine id {have.machine_id}) is the node {node.name} and is Ready; set "
        f"another node_name for this one. {_where_it_replaces(node.name)}"
    )


def takes_over(node: Node) -> str | None:
    """What the plan says of a machine that replaces one that is gone."""
    have = predecessor(node)
    if have is None or have.ready:
        return None
    return (
        f"this machine takes the place of node {node.name}, which was another one ({have.address}, machine id "
        f"{have.machine_id}) and is not Ready: its name, its subnet, its pods"
    )


def orphans(node: Node) -> list[str]:
    """Names of workers that belong to a cluster of which the first master has no authority or no data, also those that
    take no part in the run. A worker belongs to one when it has got the authority (a record is written before), and
    the cluster has data when it has got its subnet."""
    master = ask(Platform, node.first_master)
    if master is None or (master.etcd_ca and master.etcd_data):
        return []
    workers = group("worker")
    with _lock:  # one that can't be reached is looked for once in a run
        if node.host.state not in _asked:
            _asked.add(node.host.state)
            ask_all((Platform, worker, {}) for worker in workers)
    found = {worker: have for worker in workers if worker.connected and (have := ask(Platform, worker))}
    return [
        str(have.record.get("name") or worker.name)
        for worker, have in found.items()
        if have.record and have.etcd_ca and (have.flannel or not master.etcd_ca)
    ]


def has_a_master(node: Node) -> str | None:
    """Workers alone make no cluster: a master comes before them, or in the same run."""
    master = node.first_master
    found = ask(Platform, master)
    if node.is_first_master or found is None or found.etcd_ca or brings_up_the_first_master():
        return None
    return (
        f"its master {master.name} has not been brought up yet: run deploys/master.py first, or deploys/cluster.py for "
        "all hosts"
    )


def address_is_free(node: Node) -> str | None:
    """No other node has this address, also none that takes no part in the run: flannel and the API go by it."""
    for name, have in _in_the_api(node).items():
        if name not in (node.name, node.joined_as) and have.ready and have.address == node.address:
            return (
                f"has the address {node.address}, which is that of the node {name}; set another ip_address for this "
                f"one. {_where_it_replaces(name)}"
            )
    return None


def master_is_theirs(node: Node) -> str | None:
    """A master without authority or data makes no new cluster under nodes that belong to one."""
    names = orphans(node)
    if not names:
        return None
    master, found = node.first_master.name, ask(Platform, node.first_master)
    if found and found.etcd_ca:
        return (
            f"{_belong(names)} to a cluster of which the master {master} has no data: {ETCD_DATA} is empty. Where its "
            f"disk is not mounted, mount it. Where {master} is a new machine, or a restore ended early: {RESTORE}"
        )
    return (
        f"{_belong(names)} to a cluster of which the master {master} has neither authorities nor data. Where it is a "
        f"new machine: {RESTORE}"
    )


def _belong(names: Sequence[str]) -> str:
    return f"{', '.join(names)} belong{'s' if len(names) == 1 else ''}"


def strangers(nodes: Sequence[Node]) -> dict[str, str]:
    """Nodes that the API knows and the inventory does not → what to do. Told where every host was asked."""
    if len(nodes) < len({*group("master"), *group("worker")}):
        return {}
    known = ask(ClusterNodes, nodes[0].first_master) or {}
    return {name: _leave(name, state) for name, state in sorted(known.items()) if name not in {n.name for n in nodes}}


def _leave(name: str, state: NodeState) -> str:
    if state.ready:
        at = f" ({state.address})" if state.address else ""
        return (
            f"it runs: put it{at} back into the inventory, and where it should leave, turn it down with "
            "deploys/turndown.py --limit"
        )
    return f"put it back into the inventory, or where it is gone take it out of the API: kubectl delete node {name}"
