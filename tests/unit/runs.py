"""Whole runs against @fake hosts: through pyinfra's API in this process, or through its real command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat
from typing import Any
from unittest.mock import patch

from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_config, ctx_inventory

import deploys
from deploys.settings import OPTIONS

from . import machines

ROOT = Path(__file__).parents[2]

_RECORDER = """
import pathlib
from pyinfra.connectors.fake import FakeConnector
_told = FakeConnector.run_shell_command
def _recording(self, command, *args, **kwargs):
    text = command if isinstance(command, str) else command.get_masked_value()
    with pathlib.Path({path!r}).open("a") as file:
        file.write(text.splitlines()[0][:100] + "\\n")
    return _told(self, command, *args, **kwargs)
FakeConnector.run_shell_command = _recording
"""


@dataclass(frozen=True)
class H:
    """A host of a row: its name in the inventory is @fake/NAME."""

    name: str
    address: str
    data: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    """What is different from a healthy host: arguments of machines.answer, and containers of others."""
    answer: object = None
    """Instead of a machine: what the fake connector answers to the platform fact."""

    def row(self) -> tuple[str, dict[str, Any]]:
        """The host as an inventory has it."""
        words, machine = self.answer, dict(self.machine)
        others = machine.pop("others", ())
        if words is None:
            words = machines.answer(**{"name": self.name, "address": self.address, **machine})
        return f"@fake/{self.name}", {**machines.fake(words, others), **self.data}


def master(machine: Mapping[str, Any] | None = None, **data: Any) -> H:
    """The usual master."""
    return H("m1", "10.0.0.11", data, machine or {})


def worker(machine: Mapping[str, Any] | None = None, **data: Any) -> H:
    """The usual worker."""
    return H("w1", "10.0.0.12", data, machine or {})


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    code: int
    said: str
    commands: tuple[str, ...]
    """First lines of the commands that hosts were given."""
    operations: Mapping[str, int] = field(default_factory=dict)
    """Host → how many operations it has; told by runs through the API."""


Groups = Mapping[str, tuple[H, ...]]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    ours = {name.upper() for name in OPTIONS} | {"WORKER_IPS"}
    return {**{k: v for k, v in os.environ.items() if k not in ours}, **extra}


def through_api(
    entry: str,
    groups: Groups,
    data: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    limit: str | None = None,
    diff: bool = False,
) -> Outcome:
    """Prepare a run; the operations are not executed."""
    rows = {group: [h.row() for h in hosts] for group, hosts in groups.items()}
    inventory = Inventory(  # type: ignore[no-untyped-call]
        ([row for members in rows.values() for row in members], {}),
        override_data=dict(data or {}),
        **{group: (members, {}) for group, members in rows.items() if members},
    )
    state = State(inventory, Config(DIFF=diff))  # type: ignore[no-untyped-call]
    state.cwd = str(ROOT)
    if limit:
        state.limit_hosts = [h for h in inventory if h.name == f"@fake/{limit}"]
    state.set_stage(StateStage.Connect)
    connect_all(state)
    state.set_stage(StateStage.Prepare)
    deploy: Callable[..., Any] = getattr(deploys, entry)
    contexts: tuple[tuple[Any, Any], ...] = ((ctx_inventory, inventory), (ctx_config, state.config))
    before = [context.get() for context, _ in contexts]
    for context, value in contexts:
        context.set(value)
    code, said = 0, ""
    try:
        with patch.dict(os.environ, _environment(environment or {}), clear=True):
            add_deploy(state, deploy)
    except PyinfraError as error:
        code, said = 1, str(error)
    finally:
        for (context, _), value in zip(contexts, before, strict=True):
            context.set(value)
    executed = [c for h in inventory for c in getattr(getattr(h, "connector", None), "executed_commands", ())]
    operations = {host.name: len(found) for host, found in state.ops.items()}
    return Outcome(code, said, tuple(c.splitlines()[0][:100] for c in executed), operations)


def through_cli(
    place: Path,
    entry: str,
    groups: Groups | str,
    data: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    limit: str | None = None,
    options: tuple[str, ...] = ("-y",),
    cwd: Path = ROOT,
) -> Outcome:
    """Run the pyinfra command.

    :param groups: hosts, or the text of an inventory.
    :param data: what stands after --data.
    """
    log = place / "commands"
    inventory = place / "hosts.py"
    if isinstance(groups, str):
        text = groups
    else:
        text = "\n".join(f"{group} = {pformat([h.row() for h in hosts])}" for group, hosts in groups.items())
    inventory.write_text(_RECORDER.format(path=str(log)) + text + "\n")
    words = [str(inventory), f"{ROOT / 'deploys' / entry}.py", *options]  # or a deploy file's own path
    for key, value in (data or {}).items():
        words += ["--data", f"{key}={value}"]
    if limit:
        words += ["--limit", limit]
    ran = subprocess.run(
        [sys.executable, "-c", "from pyinfra_cli.main import main; main()", *words],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd, timeout=60,
        env={**_environment(environment or {}), "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
    )  # fmt: skip
    commands = log.read_text().splitlines() if log.exists() else []
    return Outcome(ran.returncode, ran.stdout + ran.stderr, tuple(commands))
