"""Each option has its effect on what a run does; an option without a row here fails."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import pytest
from pyinfra.api import DeployError

import deploys
from deploys import x509
from deploys.facts.access import Access, EtcdAccess
from deploys.facts.backups import Backup, BackupFile
from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel
from deploys.facts.kubernetes import ClusterNodes, NodeState, Objects, ObjectsState
from deploys.facts.leftovers import Leftovers
from deploys.operations.files import File
from deploys.phases import pki
from deploys.record import BEFORE_PATHS, PKI
from deploys.settings import OPTIONS
from deploys.x509 import Certificate

from . import machines
from .effects import EFFECTS, Effect
from .harness import Shell, World, logged, plain
from .known import daemons, host_files, left
from .samples import lines

CA = x509.new_authority("kubernetes")
ADMIN = x509.issue(Certificate(f"{PKI}/admin", f"{PKI}/ca", "kubernetes-admin", (pki.ADMINS,)), CA, 1)
INSTALLED = host_files(
    *(File(path, "k", "600", secret=True) for path in (*pki.authority_files(), f"{PKI}/admin.key")),
    *(File(f"{path}.crt", CA.certificate) for path in pki.AUTHORITIES),
    File(f"{PKI}/admin.crt", ADMIN.certificate),
    File(BEFORE_PATHS, ""),
)

BEFORE: Mapping[Any, Any] = {
    DaemonsFact: daemons("daemons-fresh"), HostFiles: host_files(), Kernel: Kernel().process(lines("kernel-fresh")),
    Leftovers: Leftovers().process(lines("leftovers-fresh")), EtcdSubnets: Subnets(False, ""),
    EtcdAccess: Access(False, False, {}, ()),
    BackupFile: Backup(False), ClusterNodes: None, Objects: ObjectsState(False, (), "", ()),
}  # fmt: skip
AFTER: Mapping[Any, Any] = {
    **BEFORE, DaemonsFact: daemons(), HostFiles: INSTALLED, Leftovers: left(),
    ClusterNodes: {"w1": NodeState(True, machines.found().machine_id, "10.0.0.12")},
}  # fmt: skip


def outcome(effect: Effect, data: Mapping[str, Any], worker_data: Mapping[str, Any]) -> str:
    """All that the plans of a master and a worker say, and the first command of each operation."""
    world = World(
        masters=["m1"],
        workers={"w1": dict(worker_data)},
        data={**effect.beside, **data},
        platforms={"w1": machines.found("w1", "10.0.0.12", **effect.machine)},
        facts=dict(AFTER if effect.installed or effect.entry != "cluster" else BEFORE),
    )
    if effect.runs:
        world.facts[DaemonsFact, "w1"] = daemons("daemons-fresh", main={"running_others": effect.runs})
    said: list[str] = []
    names = ("w1",) if effect.worker_alone else ("m1", "w1")
    world.state.active_hosts = {world.host(name) for name in names}
    for name in names:
        printed = io.StringIO()
        with world.on(name) as host, logged() as log, contextlib.redirect_stdout(printed):
            try:
                getattr(deploys, effect.entry)()
            except DeployError as error:
                said.append(str(error))
            for operation in world.state.ops[host].values():
                first = next(iter(operation.command_generator()), None)
                if first is not None and isinstance(command := plain(first), Shell):
                    said.append(command.text)
            said += [*log, printed.getvalue()]
    return "\n".join(said)


WITHOUT: dict[str, str] = {}
"""What is said without the option, for rows that start from the same."""


def without(effect: Effect) -> str:
    """What is said with the default."""
    key = repr([effect.entry, effect.beside, effect.machine, effect.runs, effect.worker_alone, effect.installed])
    if key not in WITHOUT:
        WITHOUT[key] = outcome(effect, {}, {})
    return WITHOUT[key]


def test_every_option_has_a_row_and_every_row_an_option() -> None:
    assert set(EFFECTS) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_what_is_done(name: str) -> None:
    effect = EFFECTS[name]
    assert effect.comes or effect.goes
    chosen = {name: effect.value}
    per_host = OPTIONS[name]["per_host"]
    before = without(effect)
    after = outcome(effect, {} if per_host else chosen, chosen if per_host else {})
    # a setting's own line in the list of settings is no effect
    after = "\n".join(line for line in after.splitlines() if " is set to: " not in line)
    for text in effect.comes:
        assert text in after
        assert text not in before
    for text in effect.goes:
        assert text in before
        assert text not in after
