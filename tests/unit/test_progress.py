"""What a run says while an operation lasts: its name, where, how long and how long at most."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest

from deploys import progress
from deploys.progress import Work


def _said(work: Work, *seconds: float, limits: dict[tuple[str, str], int] | None = None) -> list[str]:
    return [line for second in seconds if (line := work.line(second, limits or {}))]


def test_nothing_is_said_of_what_ends_soon() -> None:
    assert _said(Work("a", {"n1": 0}), 1, 5, 9.9) == []


def test_a_line_comes_after_ten_seconds_and_then_after_twice_the_time() -> None:
    lines = _said(Work("Kubernetes | etcd | Wait for etcd", {"n1": 0}), *range(100))
    assert [line.split(": ")[-1] for line in lines] == ["10 s so far", "20 s so far", "40 s so far", "80 s so far"]
    assert lines[0] == "waiting for: Kubernetes | etcd | Wait for etcd, on n1: 10 s so far"


def test_the_limit_is_told_by_the_operations_own_name() -> None:
    work = Work("Kubernetes | etcd | Wait for etcd", {"n1": 0, "n2": 4})
    assert _said(work, 12, limits={("n2", "Wait for etcd"): 300}) == [
        "waiting for: Kubernetes | etcd | Wait for etcd, on n1, n2: 12 s of at most 300 s"
    ]


def test_only_hosts_that_have_not_ended_are_named() -> None:
    work = Work("a", {f"n{i}": 0.0 for i in range(1, 10)})
    assert " on n1, n2, n3, n4, n5 and 4 more: " in _said(work, 10)[0]
    work.hosts = {"n7": 0.0}
    assert " on n7: " in _said(work, 20)[0]
    work.hosts.clear()
    assert _said(work, 1000) == []


def test_a_run_says_it_while_its_operation_lasts(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(progress, "gevent", SimpleNamespace(spawn=gevent.spawn, sleep=lambda _: gevent.sleep(0)))

    def pass_by(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        for _ in range(3):
            gevent.sleep(0)

    handlers: list[Any] = []
    meta = SimpleNamespace(names={"Kubernetes | node | Build the node image"})
    host = cast(Any, SimpleNamespace(name="n1"))
    other = cast(Any, SimpleNamespace(name="n2"))

    class Run:  # what the callbacks use of pyinfra's State
        callback_handlers = handlers
        ops: Any = None

        def get_op_meta(self, op_hash: str) -> Any:
            return meta

        def add_callback_handler(self, handler: Any) -> None:
            handlers.append(handler)

    run = cast(Any, Run())
    run.ops = _By({"n1": {"op": 1}, "n2": {}})
    progress.told(run)
    progress.told(run)
    assert len(handlers) == 1
    with caplog.at_level(logging.INFO, logger="pyinfra"):
        handlers[0].operation_host_start(run, host, "op")
        handlers[0].operation_host_start(run, other, "op")
        pass_by(9)
        pass_by(2)
        handlers[0].operation_host_success(run, host, "op")
        pass_by(90)
    lines = [record.getMessage().strip() for record in caplog.records]
    assert [line for line in lines if "waiting" in line] == [
        "waiting for: Kubernetes | node | Build the node image, on n1: 11 s so far"
    ]


class _By(dict[str, Any]):
    """What a run has, by a host's name instead of the host."""

    def __getitem__(self, host: Any) -> Any:
        return super().__getitem__(host.name)
