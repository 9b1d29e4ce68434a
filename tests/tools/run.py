"""Run the checks of the project one after the other: python -m tests.tools.run lint|unit|core|all."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.lab import Lab, LabError, processes, services
from tests.lab.paths import CHECKOUT

from . import report
from .report import Result

DOCKERS = ("26", "28", "mixed")
"""What the hosts of a cluster test run: one Docker version, or one host with each."""


@dataclass(frozen=True)
class Stage:
    """One command, and what it is called."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    needs_lab: bool = False


def _pytest(name: str, *words: str, docker: str = "") -> Stage:
    command = ("python", "-m", "pytest", "-v", "--durations=10", *words)
    return Stage(name, command, {"DOCKER": docker} if docker else {}, needs_lab=bool(docker))


LINT = (
    Stage("ruff check", ("ruff", "check", ".")),
    Stage("ruff format", ("ruff", "format", "--check", ".")),
    Stage("mypy", ("mypy",)),
)
UNIT = (_pytest("unit tests", "tests/unit", "tests/lab"),)
PACKAGE = (_pytest("package tests", "tests/package"),)
BUILD = (Stage("lab: build what is missing", ("python", "-m", "tests.lab", "build"), needs_lab=True),)
CORE = (_pytest("cluster tests (core, Docker 26)", "tests/cluster", "-m", "core", docker="26"),)
ALL = tuple(_pytest(f"cluster tests (Docker {docker})", "tests/cluster", docker=docker) for docker in DOCKERS)

SETS = {
    "lint": LINT,
    "unit": UNIT,
    "core": (*LINT, *UNIT, *PACKAGE, *BUILD, *CORE),
    "all": (*LINT, *UNIT, *PACKAGE, *BUILD, *ALL),
}


def main() -> int:
    """Run one of the sets; the exit status says whether all of it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.run", description=__doc__)
    parser.add_argument("set", choices=SETS)
    wanted = parser.parse_args().set
    stages = SETS[wanted]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        with _lab_as_it_was(any(stage.needs_lab for stage in stages)), tempfile.TemporaryDirectory() as folder:
            results = _run(stages, Path(folder), go_on=wanted == "all")
            if wanted == "all":
                report.write(results)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print("\n" + "\n".join(f"{r.verdict:7} {r.seconds:6.0f} s  {r.name}" for r in results), flush=True)
    return 0 if len(results) == len(stages) and all(r.passed for r in results) else 1


def _run(stages: tuple[Stage, ...], folder: Path, go_on: bool) -> list[Result]:
    results = []
    for number, stage in enumerate(stages):
        print(f"\n== {stage.name}: {' '.join(stage.command)}", flush=True)
        junit, figures = folder / f"{number}.xml", folder / f"{number}.json"
        command = [*stage.command, *([f"--junit-xml={junit}"] if "pytest" in stage.command else [])]
        environment = {**os.environ, **stage.environment, "REPORT": str(figures), "PYTHONUNBUFFERED": "1"}
        begin = time.monotonic()
        status = _call(command, environment)
        results.append(Result(stage.name, status == 0, time.monotonic() - begin, *report.read(junit, figures)))
        if status and not go_on:
            break
    return results


def _call(command: list[str], environment: Mapping[str, str]) -> int:
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except BaseException:
        # a test takes down what it started when it is interrupted, as by Ctrl-C
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _lab_as_it_was(needed: bool) -> Iterator[None]:
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
