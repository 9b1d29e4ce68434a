"""The @deploy functions that the package exports: what a user's own deploy file calls."""

from __future__ import annotations

import inspect
import json
import os.path
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pyinfra import host, inventory, logger, state
from pyinfra.api import DeployError, FactBase, deploy
from pyinfra.api.state import State

from . import progress, restoring, x509
from .checks import members
from .facts.access import EtcdAccess
from .facts.files import HostFiles
from .facts.leftovers import Leftovers
from .facts.platform import Platform
from .lock import one_run_at_a_time
from .observe import Question, UnreadableError, ask, ask_all, forget, observe, this_host
from .operation import changes
from .operations.backups import backup_taken
from .operations.evidence import archive_path, evidence_collected
from .operations.kubeconfig import kubeconfig_fetched
from .operations.look import together
from .phases import PHASES, addons, pki, preflight
from .record import PKI, RECORD
from .remote import called, prepare
from .report import NodeReport, refused, report, silent
from .report_text import table
from .run_nodes import active_nodes, refused_hosts, reporting, will_bring_up_masters
from .topology import Node, group, node_of, role_of, settings_of, the_first_master

_OF_ALL: tuple[type[FactBase[Any]], ...] = (Platform, *preflight.OF_EACH)
_OF_MASTER = (*_OF_ALL, *preflight.OF_MASTER, EtcdAccess)


def _this_node() -> Node:
    mine = this_host()
    role_of(mine)  # says so when the host is in no group
    node = next((node for node in active_nodes() if node.host is mine), None)
    if node is None:  # it failed when it was asked, together with the others
        raise UnreadableError(f"{mine.name} could not be asked: see the error above")
    return node


_intents: WeakKeyDictionary[State, str] = WeakKeyDictionary()
"""Run → what it does to a cluster."""


def _begin(intent: str = "") -> None:
    """What comes first on each host.

    :param intent: what goes with no other one in a run.
    :raises DeployError: the run has another one.
    """
    mine = this_host()
    if intent and (other := _intents.setdefault(mine.state, intent)) != intent:
        raise DeployError(
            f"a {other} and a {intent} are in one run: the plan of the second would be made before the first has done "
            "anything. Run them one after the other"
        )
    progress.told(mine.state)
    called(mine)
    prepare(mine)
    _know_files(mine.state.current_deploy_filename)


@cache  # the same for every host of a run
def _know_files(deploy_file: str | None) -> None:
    """Tell inspect of which module each file is: pyinfra reads the call stack at each operation, and inspect resolves
    the paths of all modules for each file that it does not know: half of the time that it takes to work out a plan."""
    files = {file: name for name, module in tuple(sys.modules.items()) if (file := getattr(module, "__file__", None))}
    if deploy_file:  # it is of none
        files[os.path.abspath(deploy_file)] = "__main__"
    for file, name in files.items():
        inspect.modulesbyfile.setdefault(file, name)


def _in_order(phases: tuple[ModuleType, ...]) -> Iterator[ModuleType]:
    # pyinfra tells operations apart by line numbers; its loop adds the phase's place to them
    yield from host.loop(phases)  # type: ignore[no-untyped-call]


def _titled(title: str, step: Callable[[Node], None], node: Node) -> None:
    # the phase's title stands before each of its operations in the plan and in the run
    titled: Callable[[Node], None] = deploy(title)(step)  # type: ignore[assignment]
    titled(node)


def _look() -> None:
    """Ask this host at once all that can be asked before it is known what it is."""
    mine = this_host()
    master = mine in group("master")
    questions: list[Question] = [(fact, mine, {}) for fact in (_OF_MASTER if master else _OF_ALL)]
    # what takes longest first: no more than a few are asked at a time
    ask_all([addons.question(mine, settings_of(mine)), *questions] if master else questions)
    found = ask(Platform, mine)
    if found and found.waited:
        forget(mine)  # the other answers may be of before


def _bring_up() -> None:
    _look()
    node = _this_node()
    one_run_at_a_time(node.host)
    if node.is_first_master or state.print_noop_info:
        for line in node.settings.printed():
            host.log(line)
    _warn(node)
    for phase in _in_order(PHASES):
        _titled(phase.TITLE, phase.apply, node)


def _warn(node: Node) -> None:
    """Say what a run leaves as it is, and what to do about it."""
    lines = [members.takes_over(node)]
    if node.is_first_master and node.found.record:
        left = members.strangers(active_nodes())
        lines += [f"{name} is a node in the API, but not in the inventory: {todo}" for name, todo in left.items()]
    for line in filter(None, lines):
        host.log_styled(line, fg="yellow", log_func=logger.warning)


def _bring_up_as(role: str) -> None:
    mine = this_host()
    if role_of(mine) == role:
        _bring_up()
    else:
        mine.log(f"is a {role_of(mine)}: deploys/{role}.py leaves it alone")
    together(name=f"Let every {role} be done before what follows")


@deploy("Kubernetes")
def cluster() -> None:
    """Bring up masters and workers side by side."""
    _begin("bring-up")
    will_bring_up_masters()
    _bring_up()


@deploy("Kubernetes")
def master() -> None:
    """Bring up the hosts of the group ``masters``; others are left alone."""
    _begin("bring-up")
    will_bring_up_masters()
    the_first_master()
    _bring_up_as("master")


@deploy("Kubernetes")
def worker() -> None:
    """Bring up the hosts of the group ``workers``; others are left alone."""
    _begin("bring-up")
    if not group("worker"):
        raise DeployError(
            'the inventory has no group `workers`; write workers = ["192.168.1.11"] in it, or run deploys/master.py'
        )
    _bring_up_as("worker")


def _is_the_masters_turn() -> bool:
    """Whether this host is the first master, on which alone something is done.

    :raises DeployError: that takes no part in the run, which would do nothing and end well.
    """
    mine, master = this_host(), the_first_master()
    role_of(mine)  # says so when the host is in no group
    if master not in {*inventory.get_active_hosts(), *state.failed_hosts}:
        raise DeployError(f"{master.name}, on which this is done, takes no part in the run: name it in --limit")
    return mine is master


@deploy("Kubernetes")
def kubeconfig() -> None:
    """Fetch the administrator's kubeconfig from the first master to the control machine."""
    _begin()
    if not _is_the_masters_turn():
        return
    node = node_of(this_host())
    name = node.settings.kubeconfig_server or node.master_address
    names = next(c.sans for c in pki.wanted(node) if c.path == f"{PKI}/apiserver")
    if name not in names:
        raise DeployError(
            f"kubeconfig_server {name} is not in the apiserver's certificate; add it to apiserver_cert_sans "
            "and run deploys/master.py"
        )
    issued = x509.names(observe(HostFiles).content(f"{PKI}/apiserver.crt"))
    if issued and name not in issued and not changes(node.host):  # which may issue it anew, before this is fetched
        raise DeployError(f"kubeconfig_server {name} is not in the apiserver's certificate yet; run deploys/master.py")
    kubeconfig_fetched(name="Fetch the kubeconfig", path=node.settings.kubeconfig_path, server=f"https://{name}:6443")


@deploy("Kubernetes")
def backup() -> None:
    """Take a snapshot of etcd on the first master, with the authorities; ``backup_path`` also copies it here."""
    _begin()
    if not _is_the_masters_turn():
        return
    node = node_of(this_host())
    one_run_at_a_time(node.host)
    backup_taken(name="Take a backup", node=node, authorities=pki.authority_files(), copy=node.settings.backup_path)


@deploy("Kubernetes")
def restore() -> None:
    """Put the backup that ``restore_from`` names back on the first master; a new machine then needs a bring-up."""
    _begin("restore")
    node = _this_node()
    mine = _is_the_masters_turn()
    one_run_at_a_time(node.host)
    for title, step in host.loop(restoring.STEPS):  # type: ignore[no-untyped-call]
        if mine or step is restoring.network:
            _titled(title, step, node)


_reports: WeakKeyDictionary[State, list[NodeReport]] = WeakKeyDictionary()


@deploy("Kubernetes")
def status() -> None:
    """Print the state of the cluster; nothing is changed. ``status_format`` is table or json."""
    _begin()
    mine, unfit = this_host(), refused_hosts()
    reports = _reports.setdefault(mine.state, [])
    with reporting():
        reports.append(refused(mine, unfit[mine]) if mine in unfit else report(_this_node()))
        nodes = active_nodes()
    if len(reports) < len(nodes) + len(unfit):
        return  # the last host to answer prints for all
    hosts = (*group("master"), *group("worker"))
    told, order = {r.host for r in reports}, [host.name for host in hosts]
    reports += [silent(host) for host in hosts if host in mine.state.failed_hosts and host.name not in told]
    reports.sort(key=lambda r: order.index(r.host))
    others = members.strangers(nodes)
    if settings_of(mine).status_format == "json":
        machines = {"nodes": [r.as_json() for r in reports], "not_in_inventory": list(others)}
        print(json.dumps({**machines, "table": table(reports, others)}, indent=1))
    else:
        print(table(reports, others))


@deploy("Kubernetes")
def evidence() -> None:
    """Collect what helps to find a fault from all hosts into one archive; nothing is changed on them."""
    _begin()
    mine = this_host()
    role_of(mine)  # no more is asked of a host before: it may be the broken one
    path = archive_path(mine, settings_of(mine).evidence_path)
    evidence_collected(name="Collect evidence", path=path)


@deploy("Kubernetes")
def turndown() -> None:
    """Take away what was made, in reverse; data stays unless ``purge_data`` is set."""
    _begin("turndown")
    node = _this_node()
    if RECORD not in observe(Leftovers).paths:
        host.log("No record of docker-multinode is here: nothing is changed on this host")
    one_run_at_a_time(node.host)
    for phase in _in_order(tuple(reversed(PHASES))):
        _titled(phase.TITLE, phase.remove, node)
