"""Refuse what can't work, with a sentence, before anything is changed on any host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyinfra.api import DeployError, FactBase

from ..checks import cluster, disks, docker, machine, members, networks, ownership
from ..facts.access import EtcdAccess
from ..facts.daemons import DaemonsFact
from ..facts.etcd import EtcdSubnets
from ..facts.files import HostFiles
from ..facts.kernel import Kernel
from ..facts.kubernetes import ClusterNodes
from ..observe import Question
from ..operations.look import looked_at
from ..run_nodes import active_nodes, refuse_twins
from ..topology import Node, settings_of
from . import addons

TITLE = "preflight"

Check = Callable[[Node], "str | None"]

CHECKS: tuple[Check, ...] = (
    machine.root,
    cluster.master_answers,
    machine.tools,
    docker.daemon_json,  # before what may come of it
    docker.docker_runs,
    machine.readable,
    machine.record_readable,
    docker.docker_api,
    docker.docker_unit,
    docker.swarm,
    docker.docker_root,
    docker.docker_names,
    docker.bootstrap_name,
    machine.arch_exists,
    machine.cgroups,
    machine.modules,
    machine.resolvers,
    docker.name_server,
    machine.shared_mounts,
    machine.clock,
    machine.memory,
    disks.room,
    machine.firewall,
    machine.ufw,
    ownership.foreign_kubernetes,
    ownership.etcd_has_its_authority,
    cluster.same_node,
    cluster.takes_nobodys_place,
    cluster.same_services,
    ownership.keeps_no_other_authority,
    members.master_is_theirs,
    members.has_a_master,
    members.name_is_free,
    members.address_is_free,
    cluster.joins_as_it_is,
    cluster.version_change,
    networks.recorded_network,
    networks.subnet_left,
    networks.same_backend,
    networks.routes,
    networks.beyond_the_routes,
    cluster.ports,
    docker.docker_restart,
)
RESTORE_CHECKS: tuple[Check, ...] = (
    *(c for c in CHECKS if c not in (ownership.etcd_has_its_authority, members.master_is_theirs)),
    ownership.etcd_data_are_ours,
)
REMOVE_CHECKS: tuple[Check, ...] = (
    machine.root,
    machine.readable,
    docker.docker_restart_back,
    ownership.purges_no_other_kubernetes,
)


OF_EACH: tuple[type[FactBase[Any]], ...] = (DaemonsFact, HostFiles, Kernel)
"""What a run asks each host, besides what machine it is."""
OF_MASTER: tuple[type[FactBase[Any]], ...] = (EtcdSubnets, ClusterNodes)
"""What it asks the first master for every node."""


def refuse(node: Node, checks: tuple[Check, ...]) -> None:
    """Stop the run where one of these checks has something to say.

    :raises DeployError: it has.
    """
    nodes = active_nodes()
    refuse_twins(nodes)
    for problem in cluster.cluster_problems(nodes, settings_of(node.first_master)):
        raise DeployError(problem)
    for check in checks:
        if sentence := check(node):
            raise DeployError(f"{node.host.name}: {sentence}")


def apply(node: Node) -> None:
    """Look at everything that is known before the run.

    :raises DeployError: something can't work.
    """
    refuse(node, CHECKS)
    looked_at(name="Look at the host", questions=_questions(node))


def _questions(node: Node) -> list[Question]:
    mine: list[Question] = [(fact, node.host, {}) for fact in OF_EACH]
    shared: list[Question] = [(HostFiles, node.first_master, {}), *((f, node.first_master, {}) for f in OF_MASTER)]
    if not node.is_first_master:
        return [*mine, *shared]
    return [*mine, *shared, (EtcdAccess, node.host, {}), addons.question(node.host, node.settings)]


def remove(node: Node) -> None:
    """Only what a turndown needs: it must work on a broken host too."""
    refuse(node, REMOVE_CHECKS)
