"""docs/test-report.md: what is read from a run of pytest, and what is said of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.tools import report, run
from tests.tools.report import Case, Result
from tests.tools.run import Stage

JUNIT = """<?xml version="1.0"?>
<testsuites><testsuite>
<testcase classname="tests.cluster.test_paths" name="test_ping[a|b]" time="1.5">
<properties><property name="promise" value="ping"/><property name="figure" value="ms"/></properties></testcase>
<testcase classname="tests.cluster.test_paths" name="test_dns" time="3"><failure message="no"/></testcase>
<testcase classname="tests.unit.test_x" name="test_y" time="0"><skipped/></testcase>
</testsuite></testsuites>
"""


def test_cases_and_figures_are_read(tmp_path: Path) -> None:
    junit, figures = tmp_path / "junit.xml", tmp_path / "figures.json"
    junit.write_text(JUNIT)
    figures.write_text(json.dumps({"docker": "26", "figures": {"seconds until Ready": 41.5}}))
    cases, found = report.read(junit, figures)
    assert cases == [
        Case("cluster/test_paths::test_ping[a|b]", "passed", 1.5, ("ping",), ("ms",)),
        Case("cluster/test_paths::test_dns", "failed", 3.0),
        Case("unit/test_x::test_y", "skipped", 0.0),
    ]
    assert found == {"seconds until Ready": 41.5}


def test_a_stage_without_tests_has_none(tmp_path: Path) -> None:
    assert report.read(tmp_path / "junit.xml", tmp_path / "figures.json") == ([], {})


def test_the_report_names_failures_cluster_tests_and_figures() -> None:
    cases = (
        Case("cluster/test_paths::test_ping[a|b]", "passed", 1.5, ("ping",), ("ms",)),
        Case("unit/test_x::test_y", "failed", 0.1),
    )
    results = (Result("mypy", True, 12.4), Result("cluster tests", False, 600.0, cases, {"seconds until Ready": 41.5}))
    text = report.text(results, "abc", "2030-01-02 03:04 UTC")
    for line in (
        "- Result: **FAILED**",
        "- Commit: abc",
        "| mypy | passed | 12 s |  |  |  |",
        "| cluster tests | FAILED | 10.0 min | 1 | 1 | 0 |",
        "| promise | cluster tests |",
        "| ping | 1 passed |",
        "| cluster/test_paths::test_ping[a\\|b] | passed | 2 s |",
        "| unit/test_x::test_y | failed | 0 s |",
        "| seconds until Ready | 41.5 |",
    ):
        assert line in text.splitlines()


def test_stages_of_a_step_run_side_by_side_and_each_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "AT_ONCE", 2)
    meet = f"touch {tmp_path}/$0; for i in $(seq 100); do [ -e {tmp_path}/$1 ] && exit $2; sleep 0.1; done; exit 9"
    step = (
        Stage("first", ("sh", "-c", meet, "one", "two", "0")),
        Stage("other", ("sh", "-c", meet, "two", "one", "3")),
    )
    steps = (step, (Stage("last", ("true",)),))
    results: list[Result] = []
    run.run(steps, tmp_path, results, go_on=False)
    assert [(r.name, r.passed) for r in results] == [("first", True), ("other", False)]
    (tmp_path / "again").mkdir()
    again: list[Result] = []
    run.run(steps, tmp_path / "again", again, go_on=True)
    assert [r.name for r in again] == ["first", "other", "last"]


def test_a_stage_for_which_there_is_no_room_starts_when_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "AT_ONCE", 2)
    log = tmp_path / "log"
    works = f'echo "$0 begins" >>{log}; sleep "$1"; echo "$0 ends" >>{log}'
    step = tuple(Stage(name, ("sh", "-c", works, name, wait)) for name, wait in (("a", "3"), ("b", "1"), ("c", "0")))
    results: list[Result] = []
    run.run((step,), tmp_path, results, go_on=False)
    assert [r.name for r in results] == ["a", "b", "c"]
    lines = log.read_text().splitlines()
    assert lines.index("b ends") < lines.index("c begins")
    assert lines.index("c ends") < lines.index("a ends")


def test_what_a_stopped_run_did_until_then_is_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "AT_ONCE", 1)
    test = tmp_path / "test_it.py"
    test.write_text(
        "import os, signal, time\n"
        "def test_first(): pass\n"
        "def test_second():\n"
        "    os.kill(os.getppid(), signal.SIGINT)\n"
        "    time.sleep(30)\n"
    )
    tests = Stage("tests", (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)))
    step = (Stage("quick", ("true",)), tests, Stage("never", ("true",)))
    results: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        run.run((step,), tmp_path, results, go_on=True)
    assert [(r.name, r.verdict, r.stopped) for r in results] == [
        ("quick", "passed", False),
        ("tests", "stopped", True),
        ("never", "stopped", True),
    ]
    assert [(c.name.rpartition(":")[2], c.outcome) for c in results[1].cases][:1] == [("test_first", "passed")]
    text = report.text(results, "abc", "2030-01-02 03:04 UTC")
    assert "- Result: **stopped**" in text
    failed = Result("tests", False, 1, (Case("x", "failed", 1),), stopped=True)
    assert "- Result: **FAILED**" in report.text([*results, failed], "abc", "2030-01-02 03:04 UTC")
