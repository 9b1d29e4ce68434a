"""The nodes of a run: who takes part in it, and what it is for."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass

from gevent.lock import RLock
from pyinfra import inventory
from pyinfra.api import DeployError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .facts.platform import Platform
from .observe import ask_all, this_host
from .scope import bound
from .topology import Node, as_found, as_told, group


@dataclass
class _Hosts:
    nodes: list[Node]
    refused: dict[Host, DeployError]


_runs: weakref.WeakKeyDictionary[State, _Hosts] = weakref.WeakKeyDictionary()
_reporting: ContextVar[bool] = ContextVar("reporting", default=False)
_bring_up_masters: weakref.WeakSet[State] = weakref.WeakSet()
"""Runs that bring up masters."""
_lock = RLock()


def _hosts_of(run: State) -> _Hosts:
    with _lock:  # each host's deploy comes here
        if run not in _runs:
            active = set(inventory.get_active_hosts())
            hosts = [h for h in (*group("master"), *group("worker")) if h in active]
            ask_all((Platform, h, {}) for h in hosts)
            told = {host: as_told(host) for host in hosts}  # what is wrong there is no state of a host
            found = _runs[run] = _Hosts([], {})
            for host in hosts:
                try:
                    found.nodes.append(as_found(host, *told[host]))
                except DeployError as error:
                    found.refused[host] = error
    return _runs[run]


def active_nodes() -> list[Node]:
    """The nodes of this run, in the inventory's order, masters first; also those that failed since.

    :raises DeployError: one of them is refused.
    """
    found = _hosts_of(this_host().state)
    if found.refused and not _reporting.get():
        raise next(iter(found.refused.values()))
    return found.nodes


def reporting() -> AbstractContextManager[bool]:
    """Within it things are only told as they are: a host that is refused keeps no other from being told of, and what
    an apply would change is what one of all hosts would."""
    return bound(_reporting, True)


def refused_hosts() -> dict[Host, DeployError]:
    """Hosts of this run that are refused, but have not failed → why."""
    run: State = this_host().state
    return {host: error for host, error in _hosts_of(run).refused.items() if host not in run.failed_hosts}


def has_the_first_master() -> bool:
    """Whether the first master takes part in this run."""
    return any(node.is_first_master for node in active_nodes())


def will_bring_up_masters() -> None:
    """Note that this run does that: what can't work without them asks."""
    _bring_up_masters.add(this_host().state)


def brings_up_the_first_master() -> bool:
    """Whether this run brings up the first master, before its workers."""
    return (_reporting.get() or this_host().state in _bring_up_masters) and has_the_first_master()


def refuse_twins(nodes: Sequence[Node]) -> None:
    """Two nodes with one name or one address.

    :raises DeployError: there are such.
    """
    for what, setting in (("name", "node_name"), ("address", "ip_address")):
        seen: dict[str, Node] = {}
        for node in nodes:
            value = getattr(node, what)
            if value in seen:
                raise DeployError(
                    f"{seen[value].host.name} and {node.host.name} both have the node {what} {value}; "
                    f"set another {setting} for one of them"
                )
            seen[value] = node
