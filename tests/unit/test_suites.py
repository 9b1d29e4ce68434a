"""Which cluster tests run with which Docker."""

from __future__ import annotations

import pytest

from tests.lab.paths import CHECKOUT
from tests.tools import run

MODULES = {
    path.name.removeprefix("test_").removesuffix(".py") for path in (CHECKOUT / "tests/cluster").glob("test_*.py")
}


def test_every_module_that_is_named_is_there() -> None:
    named = {*run.BETWEEN_TWO, *(name for names in run.ONCE.values() for name in names)}
    assert named <= MODULES


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_leaves_itself_out_where_it_was_to_run(name: str) -> None:
    assert "skipif" not in (CHECKOUT / f"tests/cluster/test_{name}.py").read_text()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_runs_with_both_dockers_or_is_the_same_with_both(name: str) -> None:
    left_out = [s.name for s in run.SUITES[:2] if f"--ignore=tests/cluster/test_{name}.py" in s.command]
    assert len(left_out) == sum(name in names for names in run.ONCE.values()) <= 1
