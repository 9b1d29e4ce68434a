"""What a run is waiting for, and for how long: a line on the control machine while an operation lasts.

pyinfra says nothing between the start of an operation and its end, and some take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import gevent
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

FIRST = 10
"""Seconds until the first line; each further one comes after twice the time of the last."""
NAMED = 5
"""So many hosts are named in a line."""

_limits: dict[tuple[str, str], int] = {}


def limited(host: Host, operation: str, seconds: int) -> None:
    """Note how long an operation may last on a host, by the operation's own name."""
    _limits[host.name, operation] = seconds


@dataclass
class Work:
    """An operation that runs now.

    :param hosts: on which it has not ended → since when, by time.monotonic().
    """

    name: str
    hosts: dict[str, float] = field(default_factory=dict)
    due: float = FIRST
    """Seconds after which the next line is due."""

    def line(self, now: float, limits: Mapping[tuple[str, str], int]) -> str | None:
        """What to say now, if it is time to."""
        if not self.hosts or now - min(self.hosts.values()) < self.due:
            return None
        seconds = now - min(self.hosts.values())
        while self.due <= seconds:
            self.due *= 2
        known = [limits[key] for host in self.hosts if (key := (host, self.name.rsplit(" | ", 1)[-1])) in limits]
        most = f" of at most {max(known)} s" if known else " so far"
        return f"waiting for: {self.name}, on {_names(sorted(self.hosts))}: {seconds:.0f} s{most}"


def _names(hosts: list[str]) -> str:
    if len(hosts) <= NAMED:
        return ", ".join(hosts)
    return f"{', '.join(hosts[:NAMED])} and {len(hosts) - NAMED} more"


_at_work: WeakKeyDictionary[State, dict[str, Work]] = WeakKeyDictionary()


def _tell(state: State) -> None:
    while True:
        gevent.sleep(1)
        for work in list(_at_work.get(state, {}).values()):
            if line := work.line(time.monotonic(), _limits):
                logger.info("    %s", line)


class _Telling(BaseStateCallback):
    """Keeps which operations run where."""

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: str) -> None:
        if op_hash not in state.ops[host]:
            return  # other hosts have it
        if state not in _at_work:
            _at_work[state] = {}
            gevent.spawn(_tell, state)
        name = ", ".join(sorted(state.get_op_meta(op_hash).names))
        _at_work[state].setdefault(op_hash, Work(name)).hosts[host.name] = time.monotonic()

    @staticmethod
    def operation_host_success(state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:
        _at_work[state][op_hash].hosts.pop(host.name, None)

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        _at_work[state][op_hash].hosts.pop(host.name, None)


def told(state: State) -> None:
    """Let this run say what it is waiting for."""
    if not any(isinstance(handler, _Telling) for handler in state.callback_handlers):
        state.add_callback_handler(_Telling())  # type: ignore[no-untyped-call]
