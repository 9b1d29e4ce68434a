"""Run the checks of the project one after the other: python -m tests.tools.run lint|unit|core|all."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.lab import Lab, LabError, processes, services
from tests.lab.paths import CHECKOUT

from . import promises, report
from .report import Result

HOSTS = {"26": "n11,n12,n13", "28": "n61,n62,n63", "mixed": "n71,n72,n73"}
"""What the hosts of a cluster test run, one Docker version or one host with each; and the hosts' names."""
BETWEEN_TWO = ("plan", "install", "foreign", "paths", "roles", "reboot", "faults", "turndown")
"""Modules of cluster tests in which a host with another Docker at its side may make a difference."""
ONCE = {
    "certificates": ("26", "They are files, which etcd, flannel and Kubernetes read, each the same in every Docker."),
    "members": ("26", "Who belongs to the cluster is in etcd and the API."),
    "garbage": ("28", "It is about the control machine, which reads nonsense in place of any Docker's answers."),
}
"""Module → the Docker it runs with, and why not with both."""


@dataclass(frozen=True)
class Stage:
    """One command, and what it is called."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs_lab: bool = False


Step = tuple[Stage, ...]
"""Stages that run side by side, as many as there is room for; the next one as soon as one has ended."""


def _pytest(name: str, *words: str, docker: str = "") -> Stage:
    command = ("python", "-m", "pytest", "-v", "--durations=10", *words)
    environment = {"DOCKER": docker, "HOSTS": HOSTS[docker]} if docker else {}
    return Stage(name, command, environment, needs_lab=bool(docker))


def _suite(docker: str) -> Stage:
    """All cluster tests that are to run with this Docker."""
    if docker == "mixed":
        words = [_module(name) for name in BETWEEN_TWO]
    else:
        elsewhere = (name for name, (its, _) in ONCE.items() if its != docker)
        words = ["tests/cluster", *(f"--ignore={_module(name)}" for name in elsewhere)]
    return _pytest(f"cluster tests, Docker {docker}", *words, docker=docker)


def _module(name: str) -> str:
    return f"tests/cluster/test_{name}.py"


LINT: tuple[Step, ...] = (
    (Stage("ruff check", ("ruff", "check", ".")),),
    (Stage("ruff format", ("ruff", "format", "--check", ".")),),
    (Stage("mypy", ("mypy",)),),
)
UNIT: tuple[Step, ...] = ((_pytest("unit tests", "-n", "auto", "tests/unit", "tests/lab"),),)
PACKAGE: tuple[Step, ...] = ((_pytest("package tests", "tests/package"),),)
BUILD: tuple[Step, ...] = (
    (Stage("lab: build what is missing", ("python", "-m", "tests.lab", "build"), needs_lab=True),),
)
CORE: tuple[Step, ...] = ((_pytest("cluster tests, core, Docker 26", "tests/cluster", "-m", "core", docker="26"),),)
SUITES: Step = tuple(_suite(docker) for docker in HOSTS)
AT_ONCE = os.cpu_count() or 1
"""How many stages of a step run at once: a cluster at work keeps about one core busy."""

SETS = {
    "lint": LINT,
    "unit": UNIT,
    "core": (*LINT, *UNIT, *PACKAGE, *BUILD, *CORE),
    "all": (*LINT, *UNIT, *PACKAGE, *BUILD, SUITES),
}


def main() -> int:
    """Run one of the sets; the exit status says whether all of it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.run", description=__doc__)
    parser.add_argument("set", choices=SETS)
    wanted = parser.parse_args().set
    steps = SETS[wanted]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    results: list[Result] = []
    tested = report.commit()
    try:
        needed = any(stage.needs_lab for step in steps for stage in step)
        with lab_as_it_was(needed), tempfile.TemporaryDirectory() as folder:
            try:
                run(steps, Path(folder), results, go_on=wanted == "all")
            finally:
                if wanted == "all" and results:
                    report.write(results, tested)
            if wanted == "all":
                promises.write(results)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print("\n" + "\n".join(f"{r.verdict:7} {r.seconds:6.0f} s  {r.name}" for r in results), flush=True)
    return 0 if len(results) == sum(map(len, steps)) and all(r.passed for r in results) else 1


def run(steps: Sequence[Step], folder: Path, results: list[Result], go_on: bool) -> None:
    """Run the steps; after a failure the next one only with `go_on`.

    :param results: gets what each stage gave, also where the run is stopped: what they did is not lost.
    """
    for number, step in enumerate(steps):
        here = folder / str(number)
        here.mkdir()
        _side_by_side(step, here, results)
        if not all(result.passed for result in results) and not go_on:
            break


def _side_by_side(step: Step, folder: Path, results: list[Result]) -> None:
    running: list[_Running] = []
    try:
        for place, stage in enumerate(step):
            while sum(one.alive() for one in running) >= AT_ONCE:
                time.sleep(0.2)
            running.append(_Running(stage, folder / f"{place}", alone=len(step) == 1))
        for one in running:
            one.join()
    except BaseException:
        for one in running:
            one.interrupt()
        for one in running:
            one.end()
        raise
    finally:
        results += [one.result() for one in running]
        results += [Result(stage.name, False, 0, stopped=True) for stage in step[len(running) :]]


class _Running:
    """A stage at work; beside others its lines are marked with its name."""

    def __init__(self, stage: Stage, files: Path, alone: bool) -> None:
        print(f"\n== {stage.name}: {' '.join(stage.command)}", flush=True)
        self._stage, self._begin, self._end, self._stopped = stage, time.monotonic(), 0.0, False
        self._junit, self._figures = files.with_suffix(".xml"), files.with_suffix(".json")
        command = [*stage.command, *([f"--junit-xml={self._junit}"] if "pytest" in stage.command else [])]
        environment = {**os.environ, **stage.environment, "REPORT": str(self._figures), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL,
            stdout=None if alone else subprocess.PIPE, stderr=None if alone else subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        for line in self._process.stdout or ():
            print(f"{self._stage.name} | {line}", end="", flush=True)
        self._process.wait()
        self._end = time.monotonic()

    def alive(self) -> bool:
        """Whether it is still at work."""
        return self._watcher.is_alive()

    def join(self) -> None:
        """Wait for its end."""
        self._watcher.join()

    def result(self) -> Result:
        """What it gave."""
        passed, seconds = self._process.returncode == 0, self._end - self._begin
        return Result(self._stage.name, passed, seconds, *report.read(self._junit, self._figures), self._stopped)

    def interrupt(self) -> None:
        """Let it end; a test takes down what it started when it is interrupted, as by Ctrl-C."""
        self._stopped = self.alive()
        self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Wait a minute for its end, not longer."""
        self._watcher.join(60)
        if self.alive():
            self._process.kill()
            self.join()


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def lab_as_it_was(needed: bool) -> Iterator[None]:
    """A lab that runs already is used and left; else it is down at the end, also after a failure."""
    if not needed:
        yield
        return
    if os.geteuid():
        raise LabError("its hosts are containers with a network of their own: run this as root")
    if not shutil.which("go"):
        raise LabError("there is no go in PATH, with which it builds images; install Go from https://go.dev/dl")
    ran = any(processes.alive(name) for name in services.NAMES)
    try:
        Lab.up(build=False)  # refuses at once where another checkout's lab runs
        yield
    finally:
        if not ran:
            Lab().down()


if __name__ == "__main__":
    sys.exit(main())
