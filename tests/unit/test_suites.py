"""Which cluster tests run with which Docker."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.lab.paths import CHECKOUT
from tests.tools import run

MODULES = {
    path.name.removeprefix("test_").removesuffix(".py") for path in (CHECKOUT / "tests/cluster").glob("test_*.py")
}
SKIPS = {"network": ['pytest.skip("this Docker takes vxlan only")']}
"""Module → where it leaves a test out, and why: Docker 28 refuses what that test is about."""


@pytest.fixture(scope="module")
def ran() -> dict[str, list[str]]:
    """Module → the suites that run tests of it, as pytest collects them; of the two with one Docker."""
    found: dict[str, list[str]] = {name: [] for name in MODULES}
    for suite in run.SUITES[:2]:
        command = [sys.executable, *suite.command[1:], "--collect-only", "-qq"]
        environment = {**os.environ, **suite.environment}
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
        for name in set(re.findall(r"^tests/cluster/test_(\w+)\.py::", done.stdout, re.MULTILINE)):
            found[name].append(suite.environment["DOCKER"])
    return found


def test_every_module_that_is_named_is_there() -> None:
    assert {*run.BETWEEN_TWO, *run.ONCE} <= MODULES


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_leaves_itself_out_where_it_was_to_run(name: str) -> None:
    text = (CHECKOUT / f"tests/cluster/test_{name}.py").read_text()
    assert re.findall(r"pytest\.(?:mark\.)?(?:skip|xfail|importorskip).*", text) == SKIPS.get(name, [])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_runs_with_both_dockers_or_it_is_said_why_not(name: str, ran: dict[str, list[str]]) -> None:
    docker, why = run.ONCE.get(name, ("", ""))
    assert ran[name] == ([docker] if why else ["26", "28"])


@pytest.mark.parametrize("name", ["leaving", "reboot", "kills", "faults", "disk_full", "drift", "turndown", "install"])
def test_what_stops_or_restarts_docker_runs_with_both(name: str) -> None:
    assert name not in run.ONCE
