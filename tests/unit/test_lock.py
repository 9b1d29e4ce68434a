"""One run at a time: the lock is taken before the first operation, held by signs of life, refused by a sentence."""

from __future__ import annotations

import getpass
import io
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent.monkey import get_original
from paramiko import SSHException
from pyinfra.api import DeployError
from pyinfra.api.state import State

from deploys import lock

from .harness import World, logged


class EndOfTestError(Exception):
    """What goes on for good is over."""


class Line:
    """The input of a process on a host."""

    def __init__(self, *, broken: Exception | None = None) -> None:
        self.broken, self.heard = broken, ""

    def write(self, text: str) -> None:
        """What paramiko does where the connection is gone."""
        if self.broken:
            raise self.broken
        self.heard += text

    def flush(self) -> None:
        """Nothing is kept back."""


class Client:
    """What ssh gives for a command: these lines."""

    def __init__(self, out: str = "held 50.5 45.5\n", error: str = "", line: Line | None = None) -> None:
        self.out, self.error, self.line = out, error, line or Line()
        self.commands: list[str] = []

    def exec_command(self, command: str) -> tuple[Line, Any, Any]:
        """Start it."""
        self.commands.append(command)
        return self.line, io.StringIO(self.out), io.StringIO(self.error)


def world(clients: dict[str, Client | None], **data: Any) -> World:
    """Hosts that are reached by these clients."""
    here = World(masters=list(clients)[:1], workers=list(clients)[1:], data=data)
    for name, client in clients.items():
        here.host(name).connector = cast(Any, SimpleNamespace(client=client))
    return here


def start(here: World, monkeypatch: pytest.MonkeyPatch, *operations: str) -> list[Callable[..., None]]:
    """Start these operations as pyinfra does; what would go on beside them is given back."""
    beside: list[Callable[..., None]] = []
    monkeypatch.setattr(gevent, "spawn", lambda function, *args: beside.append(lambda: function(*args)))
    for name in (*here.masters, *here.workers):
        lock.one_run_at_a_time(here.host(name))
    with here.on():
        for operation in operations:
            here.state.trigger_callbacks("operation_start", operation)
    return beside


def test_a_plan_takes_no_lock_and_a_run_takes_each_hosts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: dict[str, Client | None] = {"m1": Client(), "w1": Client()}
    here = world(clients)
    assert start(here, monkeypatch) == []
    assert [len(c.commands) for c in clients.values() if c] == [0, 0]
    assert len(start(here, monkeypatch, "a", "b", "c")) == 1
    assert [len(c.commands) for c in clients.values() if c] == [1, 1]


def test_all_hosts_of_a_run_have_one_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    here = world({"m1": Client(), "w1": Client()})
    for name in ("m1", "w1", "m1"):
        with here.on(name) as host:
            lock.one_run_at_a_time(host)
    assert len(here.state.callback_handlers) == 1


def test_a_host_that_failed_before_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: dict[str, Client | None] = {"m1": Client(), "w1": Client()}
    here = world(clients)
    here.state.active_hosts.discard(here.host("w1"))
    start(here, monkeypatch, "a")
    assert [len(c.commands) for c in clients.values() if c] == [1, 0]


def test_the_first_hosts_lock_is_taken_before_any_other_so_that_one_of_two_runs_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients: dict[str, Client | None] = {"m1": Client("taken\nann@desk (process 7)\n"), "w1": Client(), "w2": Client()}
    with pytest.raises(DeployError, match="ann@desk"):
        start(world(clients), monkeypatch, "a")
    assert [len(c.commands) for c in clients.values() if c] == [1, 0, 0]


def test_a_host_that_is_none_of_ours_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: dict[str, Client | None] = {"m1": Client(), "db1": Client()}
    here = world(clients)
    monkeypatch.setattr(gevent, "spawn", lambda *_: None)
    with here.on("m1") as host:
        lock.one_run_at_a_time(host)
        here.state.trigger_callbacks("operation_start", "a")
    assert [len(c.commands) for c in clients.values() if c] == [1, 0]


def test_what_was_seen_before_the_lock_had_to_wait_for_an_ended_run_does_not_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = world({"m1": Client("waiting\nheld 50.5 45.5\n"), "w1": Client()})
    start(here, monkeypatch, "a")
    now = time.monotonic()
    since = [cast(lock.Lock, lock.held(here.host(name))).quiet_since for name in ("m1", "w1")]
    assert now - 2 < since[0] <= now
    assert since[1] < now - 4


@pytest.mark.parametrize("beside", [False, True], ids=["--serial", "--no-wait"])
@pytest.mark.parametrize("names", [("m1",), ("m1", "w1")])
def test_a_run_that_goes_host_by_host_is_refused_on_each(names: tuple[str, ...], beside: bool) -> None:
    here = world({name: Client("taken\nann@desk (process 7)\n") for name in names})
    why = "leave out --serial and --no-wait" if len(names) > 1 else r"ann@desk \(process 7\)"
    for name in names:
        with here.on(name) as host:
            lock.one_run_at_a_time(host)
    for name in names:

        def begin(name: str = name) -> None:
            here.state.trigger_callbacks("operation_host_start", here.host(name), "a")

        with logged() as log:
            if beside:
                job = gevent.spawn(begin)
                job.join()
                assert isinstance(job.value, gevent.GreenletExit)
            else:
                with pytest.raises(DeployError, match=why):
                    begin()
        assert any(re.search(why, line) for line in log)
    assert here.state.failed_hosts == {here.host(name) for name in names}


SAID = {"new": "5000.200000000 4960.100000000", "back": "50.0 60.0", "whole": "50 40", "none": ""}
"""Host → its clock and when the last run there ended; the last two don't know it to a part of a second."""


def test_a_lock_tells_since_when_no_other_run_was_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    here, now = world({name: Client(f"Welcome!\nheld {said}\n") for name, said in SAID.items()}), time.monotonic()
    start(here, monkeypatch, "a")
    locks = [lock.held(here.host(name)) for name in SAID]
    quiet = [now - found.quiet_since for found in locks if found]  # a busy machine makes it less, never more
    assert 10 < quiet[0] <= 40.1
    assert max(quiet[1:]) <= 0


def test_a_host_without_ssh_has_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    start(world({"m1": None}), monkeypatch, "a")


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (
            Client("Welcome!\ntaken\nann@desk (process 7), since noon\n"),
            ("another run", "ann@desk (process 7), since noon", "60 s"),
        ),
        (Client("taken\n\n"), ("another run", "its name is not known")),
        (Client(""), ("can't be taken", lock.RUN_LOCK, "did not say why")),
        (Client("", "sh: 1: flock: not found\n"), ("can't be taken", lock.RUN_LOCK, "flock: not found")),
    ],
    ids=["named", "just-started", "silent", "no-flock"],
)
def test_a_lock_that_is_not_had_stops_the_run_by_a_sentence(
    client: Client, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeployError) as error:
        start(world({"m1": Client(), "w1": client}), monkeypatch, "a")
    said = str(error.value)
    assert said.startswith("w1: ")
    assert "\n" not in said
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("broken", [OSError("Socket is closed"), EOFError(), SSHException("the proxy ended")])
def test_every_host_hears_a_sign_of_life_also_when_another_ones_connection_is_gone(
    broken: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {"m1": Line(), "w1": Line(broken=broken), "w2": Line()}
    (beat,) = start(world({name: Client(line=line) for name, line in lines.items()}), monkeypatch, "a")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3:
            raise EndOfTestError

    monkeypatch.setattr(gevent, "sleep", sleep)
    with pytest.raises(EndOfTestError):
        beat()
    assert [line.heard for line in lines.values()] == ["...", "", "..."]
    assert set(slept) == {lock.BEAT}


def test_hosts_hear_a_sign_of_life_while_another_one_keeps_the_run_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    here, order = world({"m1": Client()}), []
    monkeypatch.setattr(lock, "_take", lambda *_: order.append("take"))
    monkeypatch.setattr(gevent, "spawn", lambda *_: order.append("beat"))
    with here.on("m1") as host:
        lock.one_run_at_a_time(host)
        here.state.trigger_callbacks("operation_start", "a")
    assert order == ["beat", "take"]


def test_the_lock_is_taken_as_the_user_that_operations_run_as(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sudo = Client(), Client()
    start(world({"m1": plain}), monkeypatch, "a")
    start(world({"m1": sudo}, _sudo=True, _timeout=5), monkeypatch, "a")
    assert plain.commands[0].startswith("sh -c ")
    assert sudo.commands[0].startswith("sudo -H -n sh -c ")


def test_what_is_sent_is_a_command_that_a_shell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr(lock, "_HOLD", lock._HOLD.replace(lock.RUN_LOCK, str(path)))
    monkeypatch.setattr(lock, "_who", lambda: 'o\'neil "$HOME"@desk (process 7), since `noon`')
    client = Client()
    start(world({"m1": client}), monkeypatch, "a")
    (command,) = client.commands
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("held ")
        second = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, input="")
        assert (second.stdout, second.stderr) == ('taken\no\'neil "$HOME"@desk (process 7), since `noon`\n', "")
        assert second.returncode == 1
        first.communicate(timeout=30)


def test_the_name_in_a_lock_says_who_where_and_since_when() -> None:
    who = lock._who()
    assert "@" in who
    assert "(process " in who
    assert "since 20" in who
    assert "\n" not in who


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert lock._who().startswith(f"user {os.getuid()}@")


def test_signs_of_life_go_on_while_pyinfra_asks_whether_to_go_on_without_a_host() -> None:
    here, beats = world({"m1": Client()}), list[str]()

    def ask(state: State) -> bool:  # as input() does, it lets nothing else run in its thread
        get_original("time", "sleep")(0.3)
        return bool(beats)

    def beat() -> None:
        for _ in range(3):
            gevent.sleep(0.02)
            beats.append("x")

    here.state.should_raise_failed_hosts = ask
    with here.on("m1") as host:
        lock.one_run_at_a_time(host)
    gevent.spawn(beat)
    assert here.state.should_raise_failed_hosts(here.state) is True
