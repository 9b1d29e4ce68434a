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
    assert promises.text(page, holders, promises.told_in(page)) == page, "write it anew: make docs"


def test_a_promise_without_a_test_is_not_made() -> None:
    rows = promises.table(HELD, {}).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| reboot-all", "| two-runs-at-once"]
    assert "[test_all](tests/cluster/test_reboot.py)" in rows[0]


def test_what_was_measured_stands_beside_the_promise_and_outlives_a_run_that_did_not_measure_it() -> None:
    cases = [
        Case("cluster/test_reboot::test_all", "passed", 1, ("reboot-all",), ("seconds | a",)),
        Case("x", "passed", 1),
    ]
    results = [
        Result(f"cluster tests, Docker {docker}", True, 9, cases, {"seconds | a": 41.5, "b": 1}) for docker in (26, 28)
    ]
    found = promises.told(results)
    passed = "passed: Docker 26, passed: Docker 28"
    assert found == {"reboot-all": f"{passed}<br>seconds | a: 41.5 (Docker 26), 41.5 (Docker 28)"}
    page = f"# x\n\n{promises.BEGIN}\n{promises.END}\n"
    page = promises.text(page, HELD, found)
    assert promises.told_in(page)["reboot-all"] == found["reboot-all"]
    assert promises.text(page, HELD, promises.told_in(page)) == page


def test_one_test_that_fails_breaks_the_promise_and_one_that_was_skipped_says_nothing() -> None:
    ends = {"26": ("passed", "failed", "passed"), "28": ("skipped", "passed"), "mixed": ("skipped",)}
    results = [
        Result(f"cluster tests, Docker {docker}", True, 9, [Case("x", end, 1, ("reboot-all",)) for end in outcomes])
        for docker, outcomes in ends.items()
    ]
    assert promises.told(results) == {"reboot-all": "failed: Docker 26, passed: Docker 28"}
