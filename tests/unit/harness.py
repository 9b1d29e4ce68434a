"""Runs operations and phases in a world whose facts are given: nothing is connected, nothing is executed."""

from __future__ import annotations

import base64
import gzip
import io
import logging
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import getcallargs
from types import ModuleType
from typing import Any
from unittest.mock import patch

from pyinfra import logger
from pyinfra.api import Config, FactBase, Inventory, State, StringCommand
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state

from deploys.facts.found import Found
from deploys.facts.platform import Platform
from deploys.observe import forget
from deploys.topology import Node, node_of

from . import machines


@dataclass(frozen=True)
class Member:
    """A file in the archive that a command gets by stdin."""

    mode: str
    content: str


@dataclass(frozen=True)
class Shell:
    """A command of an operation: its text, and what it gets by stdin."""

    text: str
    stdin: str | None = None

    @property
    def written(self) -> dict[str, Member]:
        """Path → file, where stdin is an archive of files."""
        assert self.stdin is not None
        packed = gzip.decompress(base64.b64decode(self.stdin))
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            members: dict[str, Member] = {}
            for info in tar:
                data = tar.extractfile(info)
                assert data is not None
                members[info.name.removeprefix(".")] = Member(f"{info.mode:o}", data.read().decode())
            return members


@dataclass(frozen=True)
class Fails:
    """The operation fails this host with a sentence."""

    reason: str


@dataclass(frozen=True)
class OnMaster:
    """A command that runs on another host."""

    host: str
    text: str
    doing: str


@dataclass(frozen=True)
class Calls:
    """A function on the control machine."""

    name: str
    arguments: tuple[Any, ...]


Step = Shell | Fails | OnMaster | Calls


def plain(command: PyinfraCommand | str) -> Step:
    """A command as something that can be compared."""
    if isinstance(command, str):
        return Shell(command)
    if isinstance(command, StringCommand):
        stdin = command.connector_arguments.get("_stdin")
        assert stdin is None or isinstance(stdin, str)
        return Shell(command.get_raw_value(), stdin)
    assert isinstance(command, FunctionCommand)
    if command.function.__name__ == "_fail":
        return Fails(command.args[0])
    if command.function.__name__ == "_on_master":
        master, text, doing = command.args
        return OnMaster(master.name, text, doing)
    return Calls(command.function.__name__, tuple(command.args))


@dataclass
class Meta:
    """An earlier operation of the run that changed something, or did not."""

    will_change: bool
    complete: bool = False

    def is_complete(self) -> bool:
        """Whether it ran."""
        return self.complete

    def did_change(self) -> bool:
        """Whether it changed something."""
        assert self.complete
        return self.will_change


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class World:
    """Hosts of an inventory, and the facts that they would tell.

    :param masters: names, or name → data.
    :param facts: fact class → value, or (fact class, host name) → value.
    :param executing: at run time, not in the plan.
    """

    masters: Iterable[str] | Mapping[str, dict[str, Any]] = ("m1",)
    workers: Iterable[str] | Mapping[str, dict[str, Any]] = ()
    data: dict[str, Any] = field(default_factory=dict)
    platforms: dict[str, Found] = field(default_factory=dict)
    facts: dict[Any, Any] = field(default_factory=dict)
    executing: bool = False
    diff: bool = True
    noops: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Which facts were read, of which host."""

    def __post_init__(self) -> None:
        groups = {"masters": self.masters, "workers": self.workers}
        rows = {g: list(m.items()) if isinstance(m, Mapping) else [(n, {}) for n in m] for g, m in groups.items()}
        names = [row for members in rows.values() for row in members]
        self.inventory = Inventory(  # type: ignore[no-untyped-call]
            (names, {}),
            override_data=self.data,
            **{group: (members, {}) for group, members in rows.items() if members},
        )
        self.state = State(self.inventory, Config(DIFF=self.diff))  # type: ignore[no-untyped-call]
        for host in self.inventory:
            host.connected = True
        self.state.cwd = "/"
        self.state.is_executing = self.executing
        for number, (name, _) in enumerate(names, 11):
            self.platforms.setdefault(name, machines.found(name, f"10.0.0.{number}"))
            self.state.activate_host(self.host(name))

    def host(self, name: str) -> Host:
        """A host of the inventory."""
        found: Host = self.inventory.get_host(name)
        return found

    def _fact(self, host: Host, cls: type[FactBase[Any]], *args: Any, **kwargs: Any) -> Any:
        getcallargs(cls().command, *args, **{k: v for k, v in kwargs.items() if not k.startswith("_")})
        self.asked.append(f"{cls.__name__} of {host.name}")
        if cls is Platform:
            return self.platforms[host.name]
        for key in ((cls, host.name), cls):
            if key in self.facts:
                return self.facts[key]
        raise AssertionError(f"no answer was prepared for {cls.__name__} of {host.name}")

    @contextmanager
    def on(self, name: str | None = None) -> Iterator[Host]:
        """Run what is inside as if pyinfra ran it for this host."""
        host = self.host(name or next(iter(self.inventory)).name)
        contexts: dict[Any, Any] = {
            ctx_state: self.state,
            ctx_inventory: self.inventory,
            ctx_config: self.state.config,
            ctx_host: host,
        }
        before = [(context, context.get()) for context in contexts]
        with ExitStack() as stack:
            fake = lambda h, cls, *a, **k: self._fact(h, cls, *a, **k)  # noqa: E731
            stack.enter_context(patch.object(Host, "get_fact", fake))
            stack.enter_context(patch.object(Host, "noop", lambda _, reason: self.noops.append(reason)))
            for context, value in contexts.items():
                context.set(value)
            try:
                yield host
            finally:
                for context, value in before:
                    context.set(value)

    def node(self, name: str | None = None) -> Node:
        """A host as a node."""
        with self.on(name) as host:
            return node_of(host)

    def run(self, operation: Callable[..., Any], *args: Any, on: str | None = None, **kwargs: Any) -> list[Step]:
        """All the commands of an operation; in the plan pyinfra itself stops at the first."""
        with self.on(on) as host:
            forget(host)
            return [plain(command) for command in operation._inner(*args, **kwargs)]  # type: ignore[attr-defined]

    def says(self, operation: Callable[..., Any], *args: Any, on: str | None = None, **kwargs: Any) -> str:
        """What the plan prints: the operation up to its first command."""
        with self.on(on) as host, logged() as lines:
            forget(host)
            next(iter(operation._inner(*args, **kwargs)), None)  # type: ignore[attr-defined]
        return "\n".join(lines)


Called = list[tuple[str, dict[str, Any]]]
"""Operations with their arguments, but for the name that a plan shows, in their order."""


def called(phase: ModuleType, here: World, on: str | None = None, *, removal: bool = False) -> Called:
    """What a phase calls for a host; nothing of it is prepared. Each operation gives its own name."""
    found: Called = []

    def recorder(operation: str) -> Callable[..., str]:
        def record(*, name: str, **arguments: Any) -> str:
            assert name
            found.append((operation, arguments))
            return operation

        return record

    node = here.node(on)
    operations = [name for name, value in vars(phase).items() if hasattr(value, "_inner")]
    with here.on(on), ExitStack() as stack:
        for name in operations:
            stack.enter_context(patch.object(phase, name, recorder(name)))
        (phase.remove if removal else phase.apply)(node)
    return found


@contextmanager
def logged() -> Iterator[list[str]]:
    """What pyinfra logs meanwhile."""
    handler = _Log()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
