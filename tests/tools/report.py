"""docs/test-report.md: what the last whole run of the tests gave, written by the run itself."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.paths import CHECKOUT

PATH = CHECKOUT / "docs/test-report.md"


@dataclass(frozen=True)
class Case:
    """One test: its outcome is passed, failed, error or skipped."""

    name: str
    outcome: str
    seconds: float
    promises: tuple[str, ...] = ()
    """Rows of the README's table of promises which it holds."""
    figures: tuple[str, ...] = ()
    """Names of what it measured."""


@dataclass(frozen=True)
class Result:
    """What one stage of a run gave."""

    name: str
    passed: bool
    seconds: float
    cases: Sequence[Case] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What tests measured: name of the figure → value."""
    stopped: bool = False
    """Whether it was ended from outside, or never begun for that."""

    @property
    def verdict(self) -> str:
        """One word."""
        if self.passed:
            return "passed"
        return "stopped" if self.stopped and all(c.outcome in ("passed", "skipped") for c in self.cases) else "FAILED"


def read(junit: Path, figures: Path) -> tuple[list[Case], dict[str, Any]]:
    """The cases of a pytest run, and what tests/cluster/report.py wrote; nothing where there are none."""
    cases = [_case(node) for node in ElementTree.parse(junit).iter("testcase")] if junit.exists() else []
    found = json.loads(figures.read_text())["figures"] if figures.exists() else {}
    return cases, found


def _case(node: ElementTree.Element) -> Case:
    outcomes = {"failure": "failed", "error": "error", "skipped": "skipped"}
    outcome = next((outcomes[child.tag] for child in node if child.tag in outcomes), "passed")
    module = node.get("classname", "").removeprefix("tests.").replace(".", "/")
    name, seconds = f"{module}::{node.get('name', '')}", float(node.get("time", "0"))
    return Case(name, outcome, seconds, _properties(node, "promise"), _properties(node, "figure"))


def _properties(node: ElementTree.Element, name: str) -> tuple[str, ...]:
    return tuple(p.get("value", "") for p in node.iter("property") if p.get("name") == name)


def write(results: Sequence[Result], tested: str) -> None:
    """Write the report.

    :param tested: what `commit` said before the first test.
    """
    since = "" if commit() == tested else ", changed while the tests ran"
    PATH.write_text(text(results, tested + since, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())))
    print(f"\nwritten: {PATH.relative_to(CHECKOUT)}", flush=True)


def commit() -> str:
    """The commit that is there, and whether the checkout differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()

    # the report itself is part of the checkout, and is being written
    changed = git("status", "--porcelain", "--", ".", f":!{PATH.relative_to(CHECKOUT)}")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with uncommitted changes" if changed else "")


def _machine() -> str:
    """What of the machine may matter to a reader."""
    kernel = re.match(r"[0-9.]*", platform.release())
    cgroup = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
    system = platform.freedesktop_os_release()
    return (
        f"{platform.machine()}, {system['NAME']} {system.get('VERSION_ID', '')}, Linux {kernel[0] if kernel else ''}, "
        f"cgroup {cgroup}, Python {platform.python_version()}"
    )


def text(results: Sequence[Result], commit: str, date: str) -> str:
    """The report as Markdown."""
    verdicts = {result.verdict for result in results}
    lines = [
        "# Test report",
        "",
        "<!-- Written by `make test-all`. -->",
        "",
        f"- Result: **{next(v for v in ('FAILED', 'stopped', 'passed') if v in verdicts)}**",
        f"- Commit: {commit}",
        f"- Date: {date}",
        f"- Machine: {_machine()}",
        "",
        "| stage | result | time | passed | failed | skipped |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for result in results:
        count = {o: sum(c.outcome == o for c in result.cases) for o in ("passed", "failed", "error", "skipped")}
        figures = (count["passed"], count["failed"] + count["error"], count["skipped"])
        shown = " | ".join(map(str, figures)) if result.cases else " |  | "
        lines.append(f"| {result.name} | {result.verdict} | {_duration(result.seconds)} | {shown} |")
    lines += _promises(results)
    for result in results:
        lines += _details(result)
    return "\n".join(lines) + "\n"


def _promises(results: Sequence[Result]) -> list[str]:
    """Each promise and how the tests that hold it ended, stage by stage."""
    stages = [result for result in results if any(case.promises for case in result.cases)]
    names = sorted({name for result in stages for case in result.cases for name in case.promises})
    if not names:
        return []
    lines = [
        "",
        "## Promises",
        "",
        f"| promise | {' | '.join(s.name for s in stages)} |",
        "|---|" + "---|" * len(stages),
    ]
    for name in names:
        ends = [[case.outcome for case in stage.cases if name in case.promises] for stage in stages]
        shown = (", ".join(f"{end.count(o)} {o}" for o in dict.fromkeys(end)) for end in ends)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return lines


def _details(result: Result) -> list[str]:
    """Failures of every stage; of cluster tests each test with its time, and what was measured."""
    lines = []
    wanted = [c for c in result.cases if c.name.startswith("cluster/") or c.outcome in ("failed", "error")]
    if wanted:
        lines += ["", f"## {result.name}", "", "| test | result | time |", "|---|---|---:|"]
        lines += [f"| {cell(case.name)} | {case.outcome} | {_duration(case.seconds)} |" for case in wanted]
    if result.figures:
        lines += ["", f"### Figures of {result.name}", "", "| figure | value |", "|---|---|"]
        lines += [f"| {cell(name)} | {cell(_value(value))} |" for name, value in sorted(result.figures.items())]
    return lines


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
