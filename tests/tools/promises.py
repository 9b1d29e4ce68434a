"""The README's table of promises, each with the tests that hold it: python -m tests.tools.promises.

As a plugin of pytest it prints which tests hold which promise: pytest --collect-only -q -p tests.tools.promises …
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.lab.paths import CHECKOUT

from .report import Case, Result, cell

PATH = CHECKOUT / "README.md"
BEGIN, END = "<!-- promises: written by `make test-all` and `make docs` -->", "<!-- end of promises -->"

_PROCESS = "Kill -9 of {}: it is back by itself, pods reach each other, the plan is empty."
PROMISES = {
    "reboot-all": "All hosts reboot or lose power, at once or the workers first: the cluster is back by itself.",
    "reboot-master": "The master reboots: the cluster is back by itself.",
    "reboot-worker-master-gone": "A worker reboots while the master is gone: its own containers start all the same.",
    "power-cut-master": "The master loses power (in the lab the disk's cache survives): what was written is there, "
    "the cluster is back by itself.",
    "kill9-dockerd": _PROCESS.format("the main dockerd") + " Docker itself leaves down what has `unless-stopped`.",
    "kill9-bootstrap": _PROCESS.format("the bootstrap dockerd"),
    "kill9-containerd": _PROCESS.format("the main Docker's containerd"),
    "kill9-kubelet": _PROCESS.format("the kubelet"),
    "kill9-cri-dockerd": _PROCESS.format("cri-dockerd"),
    "kill9-etcd": _PROCESS.format("etcd"),
    "kill9-flanneld": _PROCESS.format("flanneld"),
    "kill9-apiserver": _PROCESS.format("the apiserver"),
    "docker-restart-under-load": "Docker restarts while a client asks a Service: within a minute it is answered again.",
    "partition-worker": "A worker is cut off from the network, shortly and for long: healed, it is back by itself.",
    "flannel-lease-gone": "A node's subnet is deleted in etcd: the node takes the recorded one again.",
    "disk-full-etcd": "The disk of etcd's data is full: the error says so, nothing is lost, with room it goes on.",
    "disk-full-docker": "The disk of Docker's data is full: the error says so, nothing is lost, with room it goes on.",
    "interrupt-at-every-operation": "A run is killed at any operation, up or down: run it again, and it ends well.",
    "two-runs-at-once": "A second run at the same hosts is refused, and told who holds them and since when.",
    "turndown-leaves-nothing": "After a turndown with purge the host is as it was before the first install.",
    "turndown-half-installed": "A host that is installed by half can be turned down.",
    "turndown-docker-down": "A host whose Docker is down can be turned down.",
    "turndown-master-gone": "A worker whose master is gone for good can be turned down.",
    "turndown-then-install": "Turned down without purge and installed again: the same authorities, the same objects.",
    "snapshot-restore": "A restored backup has the objects made before it, and none made after it.",
    "foreign-containers-survive": "Users' containers, networks, ports and rules go on, as far as the plan says.",
    "cert-near-expiry": "Certificates that end soon are named by status, and issued anew by a run.",
    "no-secret-leaks": "No key or token is in an argument, a log, a diff, an archive, or on the control machine.",
    "thousand-lines-of-garbage": "Whatever a setting says or a host answers: one sentence, no traceback, no change.",
}
"""Name of a promise, as its tests are marked → what is promised."""

Holders = Mapping[str, list[str]]
"""Name of a promise → the tests that hold it, `file::test`, without parameters."""

KINDS = ("seconds", "seconds without an answer", "requests lost")
"""Figures that the table shows, `KIND: of what`; the test report has the others too."""


def holders() -> Holders:
    """Every marked test of the project, as pytest collects them.

    :raises AssertionError: they can't be collected.
    """
    command = (sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "tests.tools.promises", "tests")
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for name, test in re.findall(r"^promise (\S+) (\S+)$", done.stdout, re.MULTILINE):
        tests = found.setdefault(name, [])
        tests += [test] if test not in tests else []
    return found


def pytest_collection_finish(session: pytest.Session) -> None:
    """Print them."""
    for item in session.items:
        for mark in item.iter_markers("promise"):
            print("promise", mark.args[0], item.nodeid.partition("[")[0])


def told(results: Sequence[Result], holders: Holders) -> dict[str, str]:
    """Of each promise that was tested, how its tests ended in each stage, and what they measured."""
    found = {}
    for promise, tests in holders.items():
        verdicts: dict[str, list[str]] = {}
        figures: dict[str, list[float]] = {}
        for result in results:
            cases = [case for case in result.cases if promise in case.promises and case.outcome != "skipped"]
            if cases:
                verdicts.setdefault(_verdict(cases, tests), []).append(result.name.rpartition(", ")[2])
            for name in (name for case in cases for name in case.figures):
                figures.setdefault(name, []).append(result.figures[name])
        if verdicts:
            found[promise] = "<br>".join((_listed(verdicts), *_measured(figures)))
    return found


def _verdict(cases: Sequence[Case], tests: Sequence[str]) -> str:
    """How these cases of a stage ended, and how many there might be: unit tests run in no stage of cluster tests."""
    if any(case.outcome != "passed" for case in cases):
        return "failed"
    ran = {_test(case) for case in cases}
    folders = {test.rpartition("/")[0] for test in ran}
    able = sum(test.rpartition("/")[0] in folders for test in tests)
    return "passed" if len(ran) == able else f"passed {len(ran)} of {able}"


def _test(case: Case) -> str:
    """A case's test, as pytest names it, without parameters."""
    module, _, name = case.name.partition("[")[0].partition("::")
    return f"tests/{module}.py::{name}"


def _listed(verdicts: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{verdict}: {', '.join(stages)}" for verdict, stages in verdicts.items())


def _measured(figures: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A line for each of KINDS."""
    for kind in KINDS:
        of = {
            name.removeprefix(f"{kind}: "): values for name, values in figures.items() if name.startswith(f"{kind}: ")
        }
        if of:
            yield f"{kind}: " + "; ".join(f"{what}: {_range(values)}" for what, values in of.items())


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):g}", f"{max(values):g}"
    return low if low == high else f"{low} to {high}"


def table(holders: Holders, told: Mapping[str, str]) -> str:
    """A row for each promise that a test holds."""
    rows = ["| promise | what it means | test | last run |", "|---|---|---|---|"]
    for name, sentence in PROMISES.items():
        if name in holders:
            tests = "<br>".join(_links(holders[name]))
            rows.append(f"| {name} | {sentence} | {tests} | {cell(told.get(name, ''))} |")
    return "\n".join(rows)


MANY = 8
"""So many tests of one file are counted, not named."""


def _links(tests: Sequence[str]) -> list[str]:
    files: dict[str, list[str]] = {}
    for test in tests:
        path, _, name = test.partition("::")
        files.setdefault(path, []).append(name)
    return [
        f"[{text}]({path})"
        for path, names in files.items()
        for text in (names if len(names) < MANY else [f"{len(names)} tests in {path.rpartition('/')[2]}"])
    ]


def told_in(page: str, holders: Holders) -> dict[str, str]:
    """What the table on a page says of the last run, where the same tests as then hold the promise."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| [^|]* \| ([^|]*) \| ((?:[^|\\]|\\.)*) \|$", page, re.MULTILINE)
    return {
        name: said.replace("\\|", "|")
        for name, tests, said in rows
        if set(tests.split("<br>")) == set(_links(holders.get(name, ())))
    }


def text(page: str, holders: Holders, told: Mapping[str, str]) -> str:
    """The page with this table."""
    new = table(holders, told) + "\n"
    return re.sub(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: new, page, flags=re.DOTALL)


def write(results: Sequence[Result] = ()) -> None:
    """Write the table; a promise that these stages did not test stays as it is."""
    page, held = PATH.read_text(), holders()
    PATH.write_text(text(page, held, {**told_in(page, held), **told(results, held)}))
    print(f"written: {PATH.relative_to(CHECKOUT)}", flush=True)


if __name__ == "__main__":
    write()
