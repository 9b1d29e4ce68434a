"""The README's table of promises: each names the tests that hold it, and what they measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    assert promises.text(page, holders, promises.told_in(page, holders)) == page, "write it anew: make docs"


def test_a_promise_without_a_test_is_not_made() -> None:
    rows = promises.table(HELD, {}).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| reboot-all", "| two-runs-at-once"]
    assert "[test_all](tests/cluster/test_reboot.py)" in rows[0]


def _page(told: Mapping[str, str]) -> str:
    return promises.text(f"# x\n\n{promises.BEGIN}\n{promises.END}\n", HELD, told)


def _case(test: str, outcome: str, *figures: str) -> Case:
    return Case(test, outcome, 1, ("reboot-all",), figures)


def test_what_was_measured_stands_beside_the_promise_from_least_to_most() -> None:
    names = ("seconds: a | b", "seconds: c", "requests lost: a", "seconds without an answer: a", "requests done: a")
    case = _case("cluster/test_reboot::test_all", "passed", *names)
    figures: dict[str, dict[str, float]] = {"26": dict.fromkeys(names, 41.5), "28": dict.fromkeys(names, 7)}
    figures["mixed"] = figures["28"] | {"seconds: c": 100}
    results = [
        Result(f"cluster tests, Docker {docker}", True, 9, [case, Case("x", "passed", 1)], of)
        for docker, of in figures.items()
    ]
    assert promises.told(results, HELD) == {
        "reboot-all": "passed: Docker 26, Docker 28, Docker mixed<br>"
        "seconds: a | b: 7 to 41.5; c: 7 to 100<br>seconds without an answer: a: 7 to 41.5<br>"
        "requests lost: a: 7 to 41.5"
    }


def test_what_was_told_outlives_a_run_that_did_not_test_it() -> None:
    found = {"reboot-all": "passed: Docker 26<br>seconds: a | b: 41.5"}
    page = _page(found)
    assert promises.told_in(page, HELD) == {**found, "two-runs-at-once": ""}
    assert promises.text(page, HELD, promises.told_in(page, HELD)) == page


def test_what_was_told_of_other_tests_is_dropped() -> None:
    page = _page({"reboot-all": "passed: Docker 26"})
    one, other = "tests/cluster/test_reboot.py::test_all", "tests/cluster/test_reboot.py::test_other"
    assert "reboot-all" in promises.told_in(page, {"reboot-all": [one]})
    for tests in ([one, other], [other]):
        assert "reboot-all" not in promises.told_in(page, {"reboot-all": tests})


def test_the_order_of_the_tests_does_not_matter() -> None:
    tests = [f"tests/cluster/test_reboot.py::test_{name}" for name in "ab"]
    page = promises.text(_page({}), {"reboot-all": tests}, {"reboot-all": "passed: Docker 26"})
    assert promises.told_in(page, {"reboot-all": tests[::-1]}) == {"reboot-all": "passed: Docker 26"}


def _told(holders: promises.Holders, **stages: Sequence[Case]) -> str:
    names = {name: "unit tests" if name == "unit" else f"cluster tests, {name}" for name in stages}
    return promises.told([Result(names[name], True, 9, cases) for name, cases in stages.items()], holders)["reboot-all"]


def test_a_promise_is_kept_by_one_docker_where_all_its_tests_ran() -> None:
    tests = {"reboot-all": [f"tests/cluster/test_{name}.py::test_{name}" for name in "abc"]}
    cases = [_case(f"cluster/test_{name}::test_{name}[{n}]", "passed") for name in "abc" for n in (1, 2)]
    skipped = [*cases[:2], _case("cluster/test_b::test_b[1]", "skipped")]
    assert (
        _told(tests, all=cases, some=cases[:3], few=skipped) == "passed: all; passed 2 of 3: some; passed 1 of 3: few"
    )


def test_unit_tests_are_counted_apart_from_cluster_tests() -> None:
    tests = {"reboot-all": ["tests/unit/test_a.py::test_a", "tests/cluster/test_b.py::test_b"]}
    unit, cluster = _case("unit/test_a::test_a[x]", "passed"), _case("cluster/test_b::test_b", "passed")
    assert _told(tests, unit=[unit], here=[cluster]) == "passed: unit tests, here"


def test_one_test_that_fails_breaks_the_promise_and_one_that_was_skipped_says_nothing() -> None:
    ends = {"26": ("passed", "failed", "passed"), "27": ("error",), "28": ("skipped", "passed"), "mixed": ("skipped",)}
    stages = {
        name: [_case("cluster/test_reboot::test_all", end) for end in outcomes] for name, outcomes in ends.items()
    }
    assert _told(HELD, **stages) == "failed: 26, 27; passed: 28"
