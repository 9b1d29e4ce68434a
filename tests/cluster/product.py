"""The product as a user runs it: the pyinfra command on an inventory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.hosts import Host
from tests.lab.lab import environment
from tests.lab.paths import CHECKOUT

Data = Mapping[str, object]

PURGE: Data = {"purge_data": True}


_FOLLOWS = re.compile(r"revision|^[+-] *generation:", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """An operation of a plan."""

    name: str
    hosts: tuple[str, ...]
    """Hosts on which it changes something."""
    conditional: tuple[str, ...]
    """Hosts on which that depends on an earlier operation."""


@dataclass(frozen=True)
class Run:
    """What one call of pyinfra did."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """All that a user saw."""
        return self.stdout + self.stderr

    @property
    def steps(self) -> list[Step]:
        """The plan, of a run with --json."""
        plan: list[dict[str, Any]] = json.loads(self.stdout)["plan"]
        return [
            Step(op["name"], tuple(op["hosts_with_change"]), tuple(op["hosts_with_conditional_change"])) for op in plan
        ]

    @property
    def changes(self) -> dict[str, tuple[str, ...]]:
        """Operation → hosts that it changes or may change; empty for an empty plan."""
        return {step.name: step.hosts + step.conditional for step in self.steps if step.hosts or step.conditional}

    @property
    def diff(self) -> list[str]:
        """The lines that the plan prints for what it will change, without pyinfra's own headings."""
        lines = self.stderr.partition("Loading: ")[2].split("--> Disconnecting")[0].splitlines()[1:]
        return [line for line in lines if line.strip() and " is set to: " not in line and " Ready: " not in line]

    @property
    def moved(self) -> list[str]:
        """Lines of that which go or come, with - or + in front; what only follows from others is left out."""
        lines = [line[10:] for line in self.diff if line.startswith(" " * 10 + "+") or line.startswith(" " * 10 + "-")]
        return [line for line in lines if not line.startswith(("+++", "---")) and not _FOLLOWS.search(line)]

    def check(self) -> Run:
        """The run itself, when it succeeded.

        :raises AssertionError: it did not; with the end of what it printed.
        """
        assert self.code == 0, f"exit code {self.code}: {' '.join(self.argv)}\n{self.tail()}"
        return self

    def tail(self, lines: int = 60) -> str:
        """The last lines that a user saw."""
        return "\n".join(self.stderr.splitlines()[-lines:])


def pyinfra() -> str:
    """The pyinfra command beside this Python."""
    beside = Path(sys.executable).with_name("pyinfra")
    found = str(beside) if beside.exists() else shutil.which("pyinfra")
    assert found, "pyinfra is not installed beside the Python that runs the tests"
    return found


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, Mapping | list) else str(value)


@dataclass
class Product:
    """The product with one inventory and the settings of all its runs."""

    inventory: Path
    data: dict[str, object] = field(default_factory=lambda: dict(environment()))
    cwd: Path = field(default_factory=lambda: Path(os.environ.get("PRODUCT", CHECKOUT)))
    """The checkout whose deploys/ run."""

    def words(self, data: Data | None = None) -> list[str]:
        """The settings as words of a command line."""
        return [f"--data={key}={_word(value)}" for key, value in {**self.data, **(data or {})}.items()]

    def status(self, *options: str) -> subprocess.CompletedProcess[str]:
        """The command docker-multinode status."""
        command = (sys.executable, "-m", "deploys.cli", "status", str(self.inventory), *options, *self.words())
        return subprocess.run(
            command, cwd=self.cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def told(self) -> tuple[int, dict[str, Any]]:
        """Exit code and answer of docker-multinode status --json.

        :raises AssertionError: it printed a traceback.
        """
        ran = self.status("--json")
        assert "Traceback" not in ran.stderr
        return ran.returncode, json.loads(ran.stdout)

    def argv(self, entry: str, *options: str, data: Data | None = None) -> tuple[str, ...]:
        """The command that runs deploys/ENTRY.py."""
        return (pyinfra(), str(self.inventory), f"deploys/{entry}.py", *options, *self.words(data))

    def run(
        self,
        entry: str = "cluster",
        *options: str,
        data: Data | None = None,
        environ: Mapping[str, str] | None = None,
        timeout: float = 1500,
    ) -> Run:
        """Call pyinfra on deploys/ENTRY.py."""
        argv = self.argv(entry, *options, data=data)
        begin = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=self.cwd,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Run(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def started(self, entry: str, *options: str, data: Data | None = None) -> subprocess.Popen[str]:
        """An apply that has just been started; what it says is on its standard error."""
        argv = self.argv(entry, "-y", *options, data=data)
        return subprocess.Popen(
            argv,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def begun(self, entry: str, *options: str, said: str, data: Data | None = None) -> subprocess.Popen[str]:
        """An apply that has printed a line in which this pattern is found, and goes on.

        :raises AssertionError: it ended before.
        """
        run = self.started(entry, *options, data=data)
        assert run.stderr is not None
        for line in run.stderr:
            if re.search(said, line):
                return run
        raise AssertionError(f"the run ended with {run.wait()} before it said {said!r}")

    def plan(self, entry: str = "cluster", *options: str, data: Data | None = None) -> Run:
        """The plan with its diffs; nothing is changed."""
        return self.run(entry, "--dry", "--diff", "--json", *options, data=data)

    def apply(self, entry: str = "cluster", *options: str, data: Data | None = None) -> Run:
        """Apply without asking."""
        return self.run(entry, "-y", *options, data=data)


def assert_empty(plan: Run) -> None:
    """The plan has nothing to do."""
    plan.check()
    assert not plan.changes, f"not empty: {plan.changes}\n" + "\n".join(plan.diff)


@dataclass
class Sessions:
    """How often a host was asked something over ssh: by sshd's own journal."""

    executions: dict[str, int] = field(default_factory=dict)
    """Host → commands."""
    transfers: dict[str, int] = field(default_factory=dict)
    """Host → sftp sessions."""


_VERBOSE = "LogLevel VERBOSE\n"


def log_sessions(host: Host) -> None:
    """Let sshd write a line for each command; it says nothing of them by default."""
    host.write("/etc/ssh/sshd_config.d/10-count-sessions.conf", _VERBOSE)
    host.restart_ssh()


@contextmanager
def counted(hosts: Sequence[Host]) -> Iterator[Sessions]:
    """Count what happens inside the block; see `log_sessions`."""
    found = Sessions()
    marks = {host.name: _mark(host) for host in hosts}
    yield found
    for host in hosts:
        cursor, own = marks[host.name]
        command = (
            f"echo $SSH_CLIENT; sleep 0.3; journalctl -q -o cat --after-cursor='{cursor}' -t sshd -t sshd-session "
            "| grep '^Starting session'"
        )
        mine, *lines = host.run(command, check=False).stdout.splitlines()
        ports = {own, mine.split()[1]}  # these two connections are the counter's
        foreign = [line for line in lines if line.split(" port ")[1].split()[0] not in ports]
        found.executions[host.name] = sum("session: command" in line for line in foreign)
        found.transfers[host.name] = sum("'sftp'" in line for line in foreign)


def _mark(host: Host) -> tuple[str, str]:
    lines = host.run("echo $SSH_CLIENT; journalctl -q -n 0 --show-cursor").stdout.splitlines()
    return lines[1].removeprefix("-- cursor: "), lines[0].split()[1]
