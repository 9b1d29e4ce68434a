"""The README's table of promises: each names the tests that hold it, and what they measured."""

from __future__ import annotations

import pytest

from tests.tools import promises
from tests.tools.promises import PROMISES
from tests.tools.report import Case, Result

HELD = {
    "reboot-all": ["tests/cluster/test_reboot.py::test_all"],
    "two-runs-at-once": ["tests/cluster/test_x.py::test_two"],
}


@pytest.fixture(scope="module")
def holders() -> promises.Holders:
    return promises.holders()


def test_a_test_holds_a_promise_that_the_table_has(holders: promises.Holders) -> None:
    assert set(holders) <= set(PROMISES)


def test_the_readme_names_every_promise_and_its_tests(holders: promises.Holders) -> None:
    page = promises.PATH.read_text()
    assert promises.text(page, holders, promises.measured_in(page)) == page, "write it anew: make docs"


def test_a_promise_without_a_test_is_not_made() -> None:
    rows = promises.table(HELD, {}).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| reboot-all", "| two-runs-at-once"]
    assert "[test_all](tests/cluster/test_reboot.py)" in rows[0]


def test_what_was_measured_stands_beside_the_promise_and_outlives_a_run_that_did_not_measure_it() -> None:
    cases = [
        Case("cluster/test_reboot::test_all", "passed", 1, ("reboot-all",), ("seconds | a",)),
        Case("x", "passed", 1),
    ]
    results = [Result(f"Docker {docker}", True, 9, cases, {"seconds | a": 41.5, "b": 1}) for docker in (26, 28)]
    found = promises.measured(results)
    assert found == {"reboot-all": "seconds | a: 41.5 (Docker 26), 41.5 (Docker 28)"}
    page = f"# x\n\n{promises.BEGIN}\n{promises.END}\n"
    page = promises.text(page, HELD, found)
    assert promises.measured_in(page)["reboot-all"] == found["reboot-all"]
    assert promises.text(page, HELD, promises.measured_in(page)) == page
