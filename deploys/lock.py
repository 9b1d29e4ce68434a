"""One run at a time on a host: a lock that lives as long as the run's connection.

A process on the host holds it with flock(1) and ends when the control machine's end goes away, or says
nothing for a minute. So there is nothing to clear up after a run that was killed.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import socket
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Group
from pyinfra import logger
from pyinfra.api import DeployError, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.connectors.util import extract_control_arguments, make_unix_command_for_host

from .busy import BUSY, IDLE, RUN_LOCK, WAIT_SECONDS
from .record import RECORD
from .remote import BROKEN, connector_arguments

BEAT = 20
"""Seconds between two signs of life; the host waits for three of them."""

_HOLD = rf"""
umask 077; exec 9>>{RUN_LOCK}; flock -n 9 || {{ echo taken; cat {RUN_LOCK}; exit 1; }}
{IDLE} || {{ echo taken; echo "a command that an earlier run started"; exit 1; }}
times="$(date +%s.%N) $(stat -c %.9Y {RUN_LOCK})"
printf '%s\n' "$1" > {RUN_LOCK}; echo "held $times"
while [ "$(timeout {3 * BEAT} dd bs=1 count=1 2>/dev/null)" = . ]; do :; done
if [ -d {RECORD} ]; then : > {RUN_LOCK}; else rm -f {RUN_LOCK} {BUSY}; fi
""".strip()


@dataclass(frozen=True)
class Lock:
    """A lock that this run holds.

    :param who: what it says.
    :param quiet_since: no other run has changed that host since then, by time.monotonic().
    :param line: what keeps it: the input of the process on the host.
    """

    who: str
    quiet_since: float
    line: Any


@dataclass
class _Run:
    """What one run has.

    :param hosts: those on which it is to be alone; an inventory may have others.
    :param begun: whether it has taken its locks, or was refused.
    """

    hosts: set[Host] = field(default_factory=set)
    locks: dict[Host, Lock] = field(default_factory=dict)
    begun: bool = False
    refused: DeployError | None = None


_runs: WeakKeyDictionary[State, _Run] = WeakKeyDictionary()
_taking = BoundedSemaphore()


def held(host: Host) -> Lock | None:
    """The lock that this run has on a host."""
    run = _runs.get(host.state)
    return run.locks.get(host) if run else None


def _who() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user, of whom nobody knows the name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()} (process {os.getpid()}), since {since}"


def _acquire(state: State, host: Host, who: str) -> Lock | None:
    """Hold the lock of a host.

    :param who: what the lock says.
    :returns: the lock; None where there is no ssh.
    :raises DeployError: another run has it.
    """
    client = getattr(host.connector, "client", None)
    if client is None:
        return None
    script = StringCommand(f"sh -c {shlex.quote(_HOLD)} lock {shlex.quote(who)}")
    arguments: Any = connector_arguments(host)
    extract_control_arguments(arguments)  # time limits and the like: not for the command itself
    command = make_unix_command_for_host(state, host, script, **arguments)
    stdin, stdout, stderr = client.exec_command(command.get_raw_value())
    waited = False
    for line in stdout:  # what a login shell prints comes first
        answer = line.strip()
        if answer == "waiting":
            waited = True
            host.log(f"waits for what an earlier run, which ended, left at work; for at most {WAIT_SECONDS} s")
        if found := re.fullmatch(r"held(?: (\d+\.\d+) (\d+\.\d+)| \S+ \S+)?", answer):
            # by the host's clock; a file that is new, or that a turndown took away, says nothing of before
            quiet = float(found[1]) - float(found[2]) if found[1] and not waited else 0
            return Lock(who, time.monotonic() - max(quiet, 0), stdin)
        if answer == "taken":
            raise DeployError(
                f"{host.name}: another run is at work there: {stdout.readline().strip() or 'its name is not known'}. "
                f"Wait for it; if it died, its lock ends within {3 * BEAT} s"
            )
    why = " ".join(stderr.read().split()[-40:])
    raise DeployError(f"{host.name}: the lock {RUN_LOCK} can't be taken: {why or 'the host did not say why'}")


def _beat(state: State) -> None:
    while True:
        gevent.sleep(BEAT)
        for lock in list(_runs[state].locks.values()):
            try:
                lock.line.write(".")
                lock.line.flush()
            except BROKEN:
                continue  # that host's connection is gone, its operations say so


def _take(run: _Run, who: str, host: Host) -> None:
    try:
        if lock := _acquire(host.state, host, who):
            run.locks[host] = lock
    except DeployError as error:
        run.refused = run.refused or error
    except BROKEN as error:
        run.refused = run.refused or DeployError(f"{host.name}: the lock {RUN_LOCK} can't be taken: {error}")


def _hold(state: State) -> None:
    """Take the locks of all hosts of ours, once a run.

    :raises DeployError: another run has one of them; also when asked again.
    """
    run = _runs[state]
    with _taking:
        if not run.begun:
            run.begun, who = True, _who()
            gevent.spawn(_beat, state)  # one host may have to wait longer than the others' locks live
            hosts = sorted(run.hosts & set(state.inventory.get_active_hosts()), key=lambda h: h.name)
            # of two runs at the same hosts one gets the first host's lock, and only that one goes on
            for some in (hosts[:1], hosts[1:]):
                if not run.refused:
                    Group().map(partial(_take, run, who), some)
    if run.refused:
        raise run.refused


_HOST_BY_HOST = (
    "hosts wait for each other at every step: leave out --serial and --no-wait, or choose one host with --limit"
)


class _Locking(BaseStateCallback):
    """Takes the locks before the first operation runs; a plan takes none."""

    @staticmethod
    def operation_start(state: State, op_hash: str) -> None:
        _hold(state)

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: str) -> None:
        """All that pyinfra tells with --serial and --no-wait, where it shows no error of ours either."""
        try:
            run = _runs[state]
            if not run.begun and len(run.hosts) > 1:
                run.begun, run.refused = True, DeployError(_HOST_BY_HOST)
            _hold(state)
        except DeployError as error:
            host.log_styled(str(error), fg="red", log_func=logger.error)
            state.failed_hosts.add(host)
            if isinstance(gevent.getcurrent(), gevent.Greenlet):
                raise gevent.GreenletExit from error  # ends what runs for this host, and nothing is printed for it
            raise


def one_run_at_a_time(host: Host) -> None:
    """Let this run refuse to start where another one is at work on one of its hosts."""
    state: State = host.state
    _runs.setdefault(state, _Run()).hosts.add(host)
    if not any(isinstance(handler, _Locking) for handler in state.callback_handlers):
        state.add_callback_handler(_Locking())  # type: ignore[no-untyped-call]
        if ask := state.should_raise_failed_hosts:
            # pyinfra asks whether to go on without a host that failed; in this thread nothing else would run until
            # the answer, and the locks would end
            state.should_raise_failed_hosts = lambda of: bool(gevent.get_hub().threadpool.apply(ask, (of,)))
