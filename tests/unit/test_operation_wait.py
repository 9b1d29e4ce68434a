"""Waits: a loop on the host, run here by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from deploys.operations.wait import told, until, verified, wait_for

from .harness import Calls, Meta, Shell, World

NO_SLEEP = "sleep() { echo slept; }; "
"""So that a script does not sleep but says so."""


def sh(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script as pyinfra would on a host."""
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=20)


def wait(*when: Meta) -> list[object]:
    """Run the operation."""
    return [
        *World().run(wait_for, what="etcd", test="true", limit=3, evidence="id", further="docker logs etcd", when=when)
    ]


def test_nothing_is_waited_for_when_nothing_changed() -> None:
    assert wait(Meta(False), Meta(False, complete=True)) == []


def test_a_change_in_the_plan_or_at_run_time_makes_a_wait() -> None:
    for meta in (Meta(True), Meta(True, complete=True)):
        (step,) = wait(Meta(False), meta)
        assert step == Shell(until("etcd", "true", 3, "id", "docker logs etcd"))


def test_a_wait_ends_at_once_when_the_test_succeeds_and_prints_nothing() -> None:
    ran = sh(NO_SLEEP + until("x", "echo noise; true", 30, "echo evidence", "y"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_wait_goes_on_until_the_test_succeeds(tmp_path: Path) -> None:
    counter = tmp_path / "n"
    ran = sh(until("x", f"echo >> {counter}; [ $(wc -l < {counter}) -ge 3 ]", 30, "true", "y"))
    assert ran.returncode == 0
    assert counter.read_text().count("\n") == 3


def test_a_wait_in_vain_fails_in_time_with_the_last_words_and_what_to_type_next(tmp_path: Path) -> None:
    clock = f"date() {{ echo >> {tmp_path}/s; wc -l < {tmp_path}/s; }}; "  # each look at it takes a second
    wait = until("etcd to be healthy", "false", 3, "seq 100; echo broken >&2", "docker logs etcd")
    ran = sh(clock + NO_SLEEP + wait)
    assert (ran.returncode, ran.stdout) == (1, "slept\nslept\n")
    said = ran.stderr.splitlines()
    assert said[0] == "waited 3 s for etcd to be healthy, in vain; the last words:"
    assert said[-2:] == ["broken", "to look further: docker logs etcd"]
    assert len(said) == 22


def test_a_test_that_reads_stdin_does_not_eat_the_script() -> None:
    ran = subprocess.run(["sh", "-s"], input=until("x", "true", 2, "true", "y") + "; echo after\n",
                         capture_output=True, text=True, timeout=20)  # fmt: skip
    assert ran.stdout == "after\n"


def test_words_with_an_apostrophe_do_not_end_the_shells() -> None:
    text = until("kubelet's end", "false", 0, "echo why", "docker logs of the apiserver's newest container")
    ran = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "to look further: docker logs of the apiserver's newest container\n" in ran.stderr


def test_a_check_runs_only_where_something_changed() -> None:
    arguments: dict[str, Any] = {"what": "DNS", "test": "true", "limit": 5, "evidence": "id", "further": "id"}
    assert World().run(verified, **arguments, when=[Meta(False)]) == []
    (step,) = World().run(verified, **arguments, when=[Meta(False), Meta(True)])
    assert isinstance(step, Shell)
    assert "until { true ; }" in step.text


def test_how_to_go_on_is_said_where_something_changed() -> None:
    assert World().run(told, line="go on", when=(Meta(True),)) == [Calls("_tell", ("go on",))]
    assert World().run(told, line="go on", when=(Meta(False),)) == []
