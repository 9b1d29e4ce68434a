"""Commands that outlive their run hold a lock, which the next run waits for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.api import FunctionCommand, StringCommand

from deploys import busy
from deploys.operation import Commands, operation
from deploys.plan import fail, tell
from deploys.record import LOCAL_DOCKER

from .harness import World


def test_a_command_is_marked_with_its_input_and_a_failure_is_left_as_it_is() -> None:
    command = busy.marked(StringCommand("cat", _stdin="x"))
    assert isinstance(command, StringCommand)
    assert command.get_raw_value() == f"{LOCAL_DOCKER} {busy.MARK} cat"
    assert command.connector_arguments == {"_stdin": "x"}
    with World().on():
        failure = fail("no")
    assert busy.marked(failure) is failure


def test_a_command_begins_only_while_its_run_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    monkeypatch.setattr(busy, "RUN_LOCK", str(lock))
    monkeypatch.setattr(busy, "MARK", busy.MARK.replace(busy.BUSY, str(tmp_path / "busy")))
    command = busy.marked("echo done", "o'neil@desk (process 7), since noon")
    assert isinstance(command, StringCommand)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", command.get_raw_value()], capture_output=True, text=True)

    lock.write_text("o'neil@desk (process 7), since noon\n")
    assert run().stdout == "done\n"
    for other in ("", "ann@sofa (process 7), since noon\n"):
        lock.write_text(other)
        assert (run().returncode, run().stdout) == (1, "")
        assert "its lock has ended" in run().stderr
    lock.unlink()
    assert run().returncode == 1


def test_what_python_does_for_a_host_begins_only_while_its_run_has_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploys.operation.held", lambda host: SimpleNamespace(who="me"))

    @operation
    def told() -> Commands:
        """Say something."""
        yield tell("x")

    with World(executing=True).on():
        look, say = told._inner()
    assert isinstance(look, StringCommand)
    marked = busy.marked("true", "me")
    assert isinstance(marked, StringCommand)
    assert look.get_raw_value() == marked.get_raw_value()
    assert isinstance(say, FunctionCommand)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock in a directory of the test's own."""
    lock = tmp_path / "busy"
    for name in ("MARK", "IDLE"):
        monkeypatch.setattr(busy, name, getattr(busy, name).replace(busy.BUSY, str(lock)))
    return lock


def _idle(seconds: int) -> subprocess.CompletedProcess[str]:
    script = busy.IDLE.replace(f"-w {busy.WAIT_SECONDS}", f"-w {seconds}")
    return subprocess.run(["sh", "-c", f"{script} && echo idle"], capture_output=True, text=True)


def test_a_new_run_waits_for_the_children_of_a_command_whose_run_is_gone(here: Path) -> None:
    # the shell of the command ends, what it started goes on: as when a connection breaks
    child = subprocess.Popen(["sh", "-c", f"{busy.MARK} sleep 30 & echo $!"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid = child.stdout.readline().strip()
    child.wait()
    held = _idle(1)
    assert (held.returncode, held.stdout) == (1, "waiting\n")
    subprocess.run(["kill", pid], check=True)
    free = _idle(20)
    assert free.returncode == 0
    assert free.stdout.endswith("idle\n")


def test_two_commands_of_one_run_do_not_wait_for_each_other(here: Path) -> None:
    first = subprocess.Popen(["sh", "-c", f"{busy.MARK} exec sleep 30"])
    second = subprocess.run(["sh", "-c", f"{busy.MARK} true"], timeout=10)
    first.kill()
    assert second.returncode == 0


def test_a_question_waits_for_such_a_command_and_goes_on_where_it_does_not_end(here: Path) -> None:
    lock = here.with_name("lock")
    script = busy.SETTLED.replace(busy.BUSY, str(here)).replace(busy.RUN_LOCK, str(lock)).replace("-w 60", "-w 20")

    def ask(script: str) -> int:
        return subprocess.run(["sh", "-c", script]).returncode

    assert ask(script) == 0
    assert not here.exists()
    with subprocess.Popen(["sh", "-c", f"{busy.MARK} echo; read line"], text=True, stdin=-1, stdout=-1) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        command.stdout.readline()
        assert ask(script.replace("-w 20", "-w 0.3")) == 1
        lock.write_text("ann@desk\n")  # her run is still there
        assert ask(script) == 0
        lock.write_text("")
        with subprocess.Popen(["sh", "-c", f"{script}; echo settled"], text=True, stdout=-1) as question:
            assert question.stdout is not None
            assert question.stdout.readline() == "== waited\n"
            command.stdin.close()
            assert question.communicate(timeout=20)[0] == "settled\n"
