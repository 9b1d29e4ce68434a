"""What is known of a host: asked once, until something changed there; and never guessed."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest
from paramiko import SSHException
from pyinfra.api import DeployError, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operations import run_host_op
from pyinfra.connectors.util import CommandOutput

from deploys import remote
from deploys.facts.backups import Backup, BackupFile
from deploys.facts.daemons import DaemonsFact
from deploys.facts.kernel import Kernel, KernelState
from deploys.lock import Lock
from deploys.observe import FRESH, UnreadableError, ask_all, forget, observe
from deploys.operation import Commands, changed, changes, operation, removal
from deploys.plan import fail, unknown

from .harness import Fails, Meta, Shell, World, logged, plain

KERNEL = KernelState(frozenset(), {}, {})
ABSENT = Backup(False)


@operation
def touching(times: int) -> Commands:
    """Look, then change something so many times."""
    observe(Kernel)
    for _ in range(times):
        yield StringCommand("true")
        observe(Kernel)


@removal
def taking_away() -> Commands:
    """Look, then take something away."""
    observe(Kernel)
    yield StringCommand("true")
    observe(Kernel)


def test_a_fact_is_asked_once_in_a_plan() -> None:
    world = World(facts={Kernel: KERNEL})
    with world.on():
        assert observe(Kernel) is observe(Kernel)
    assert world.asked == ["Kernel of m1"]


def test_questions_come_in_few_sessions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    now: list[str] = []
    most = 0

    def get(*_: Any, path: str) -> Backup:
        nonlocal most
        now.append(path)
        most = max(most, len(now))
        gevent.sleep(0.01)
        now.remove(path)
        return ABSENT

    with world.on() as host, monkeypatch.context() as patch:
        patch.setattr(Host, "get_fact", get)
        host.connected = True
        ask_all((BackupFile, host, {"path": f"/{n}"}) for n in range(20))
    assert most == remote._SESSIONS


def test_other_arguments_are_another_question() -> None:
    world = World(facts={BackupFile: ABSENT})
    with world.on():
        observe(BackupFile, path="/a")
        observe(BackupFile, path="/b")
        observe(BackupFile, path="/a")
    assert len(world.asked) == 2


@pytest.mark.parametrize(
    ("ago", "quiet", "asked"),
    [
        pytest.param(5, 600, 1, id="fresh"),
        pytest.param(FRESH + 5, 600, 2, id="the user took his time to say yes"),
        pytest.param(5, 3, 2, id="another run ended meanwhile"),
        pytest.param(0, None, 2, id="there is no lock, so another run may be at work"),
    ],
)
def test_what_the_plan_saw_stands_for_the_run_while_it_is_fresh(
    ago: int, quiet: int | None, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, now = World(facts={Kernel: KERNEL}), time.monotonic()
    lock = None if quiet is None else Lock("ann@desk", now - quiet, None)
    monkeypatch.setattr("deploys.observe.held", lambda host: lock)
    with world.on():
        with monkeypatch.context() as patch:
            patch.setattr("deploys.observe.time.monotonic", lambda: now - ago)
            observe(Kernel)
        world.state.is_executing = True
        observe(Kernel)
        observe(Kernel)
    assert len(world.asked) == asked


def test_each_command_that_ran_makes_what_is_known_of_that_host_old() -> None:
    world = World(workers=["w1"], facts={Kernel: KERNEL}, executing=True)
    with world.on("w1"):
        observe(Kernel)
    world.asked.clear()
    world.run(touching, times=3)
    assert world.asked == ["Kernel of m1"] * 4
    with world.on("w1"):
        observe(Kernel)
    assert len(world.asked) == 4


def test_a_second_attempt_after_a_command_that_failed_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(facts={Kernel: KERNEL})
    monkeypatch.setattr(StringCommand, "execute", lambda *_: (False, CommandOutput([])))
    with world.on() as host:
        meta: Any = touching(name="a", times=1, _retries=2, _retry_delay=0)
        world.asked.clear()
        world.state.is_executing = True
        assert not run_host_op(world.state, host, meta._hash)
    assert world.asked == ["Kernel of m1"] * 3


def test_what_was_seen_stands_where_things_are_only_taken_away() -> None:
    world = World(facts={Kernel: KERNEL}, executing=True)
    world.run(taking_away)
    assert world.asked == ["Kernel of m1"]


def test_only_what_a_changed_thing_says_may_be_forgotten() -> None:
    world = World(facts={Kernel: KERNEL})
    with world.on() as host:
        observe(Kernel)
        forget(host, DaemonsFact)
        observe(Kernel)
        assert len(world.asked) == 1
        forget(host, DaemonsFact, Kernel)
        observe(Kernel)
    assert len(world.asked) == 2


def test_a_plan_changes_nothing_so_what_is_known_stays() -> None:
    world = World(facts={Kernel: KERNEL})
    world.run(touching, times=3)
    assert world.asked == ["Kernel of m1"]


def test_another_host_is_asked_for_the_current_one() -> None:
    world = World(workers=["w1"], facts={Kernel: KERNEL})
    with world.on("w1"):
        observe(Kernel, world.host("m1"))
    assert world.asked == ["Kernel of m1"]


def test_hosts_that_ask_a_third_one_at_the_same_time_ask_once() -> None:
    world = World(workers=["w1", "w2"], facts={Kernel: KERNEL})
    told = world._fact

    def slow(*args: object, **kwargs: object) -> object:
        gevent.sleep(0.01)
        return told(*args, **kwargs)  # type: ignore[arg-type]

    world._fact = slow  # type: ignore[method-assign]
    with world.on("w1"):
        gevent.joinall([gevent.spawn(observe, Kernel, world.host("m1")) for _ in range(5)])
    assert world.asked == ["Kernel of m1"]


def test_a_host_that_could_not_be_asked_is_never_taken_for_an_empty_one() -> None:
    world = World(facts={Kernel: KERNEL})
    world.state.failed_hosts.add(world.host("m1"))
    with world.on(), pytest.raises(DeployError, match="m1 could not be asked"):
        observe(Kernel)


def test_at_run_time_it_fails_that_host_and_stops_no_other() -> None:
    world = World(facts={Kernel: KERNEL}, executing=True)
    world.state.failed_hosts.add(world.host("m1"))
    (step,) = world.run(touching, times=1)
    assert isinstance(step, Fails)
    assert "could not be asked" in step.reason


def test_operations_of_a_run_are_remembered_per_host_for_the_checks_at_its_end() -> None:
    world = World(workers=["w1"], facts={Kernel: KERNEL})
    with world.on("m1") as host:
        touching(name="a", times=1)
        touching(name="b", times=0)
        metas = changes(host)
        assert [changed([m]) for m in metas] == [True, False]
        assert changed(metas)
    assert changes(world.host("w1")) == []


def metas(*of_a_run: Meta) -> Any:
    """Earlier operations."""
    return list(of_a_run)


def test_changed_asks_the_plan_before_and_the_result_after() -> None:
    assert changed(metas(Meta(False), Meta(True)))
    assert changed(metas(Meta(True, complete=True)))
    assert not changed(metas(Meta(False), Meta(False, complete=True)))
    assert not changed([])


def test_an_unknown_change_is_one_that_could_not_run() -> None:
    step = plain(unknown("whatever"))
    assert isinstance(step, Shell)
    assert step.text == "false # planned: whatever"


def test_a_failure_is_a_sentence_and_a_false_and_the_plan_says_it() -> None:
    world = World()
    with world.on() as host, logged() as lines:
        command = fail("no etcd here")
        assert [line.rsplit("] ", 1)[-1] for line in lines] == ["Will fail: no etcd here"]
        assert command.function(world.state, host, *command.args) is False
    assert plain(command) == Fails("no etcd here")


def test_the_last_host_that_answers_garbage_fails_by_a_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def garbage(host: Host, *_: Any, **__: Any) -> None:
        host.state.fail_hosts({host})  # type: ignore[no-untyped-call]

    here = World(executing=True)
    with here.on() as host, monkeypatch.context() as patch:
        patch.setattr(Host, "get_fact", garbage)
        with pytest.raises(UnreadableError, match="m1 could not be asked"):
            observe(Kernel, host)


@pytest.mark.parametrize("error", [EOFError(), OSError("gone"), SSHException("Channel closed.")])
def test_a_connection_that_breaks_is_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise error

    here = World()
    with here.on() as host, monkeypatch.context() as patch, logged() as said:
        patch.setattr(Host, "get_fact", breaks)
        ask_all([(Kernel, host, {})])
        with pytest.raises(UnreadableError, match=f"m1 could not be asked: the connection broke.*{error}"):
            observe(Kernel, host)
    assert not [line for line in said if "Traceback" in line]
