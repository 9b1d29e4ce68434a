"""What is known of a host in this run.

pyinfra has no fact cache. Each bundle fact here is read once and stands until an operation of ours
changed something on that host; so an unchanged host answers each concern once. What a plan saw stands
for the run that follows, while it is fresh and no other run was at work on the host.
"""

from __future__ import annotations

import time
import weakref
from collections import defaultdict
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import Any, TypeVar, cast

import gevent
from gevent.lock import RLock
from pyinfra import host as current_host
from pyinfra import inventory, state
from pyinfra.api import DeployError, FactBase
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host

from .facts.sections import UNREAD
from .lock import held
from .remote import BROKEN, of_call, prepare, session

T = TypeVar("T")


class UnreadableError(DeployError):
    """A host could not be asked, so nothing may be decided for it."""


FRESH = 30
"""Seconds for which what a plan saw stands: it may be minutes old when the user says yes."""


class _Known:
    def __init__(self) -> None:
        self.connecting = RLock()
        self.asking: defaultdict[Any, RLock] = defaultdict(RLock)  # several workers ask the first master the same
        self.facts: dict[Any, tuple[float, Any]] = {}
        """Question → when it was answered, by time.monotonic(), and how."""
        self.executing = False
        self.age = 0
        """Goes up with each change of the host."""


_known: weakref.WeakKeyDictionary[Host, _Known] = weakref.WeakKeyDictionary()


def _of(host: Host) -> _Known:
    return _known.setdefault(host, _Known())


def this_host() -> Host:
    """The host that the current code runs for: the object itself, not pyinfra's context proxy."""
    found: Host = inventory.get_host(current_host.name)
    return found


def observe(fact: type[FactBase[T]], host: Host | None = None, **arguments: Any) -> T:
    """Read a bundle fact of a host, or what this run already read since the last change there.

    :param host: another host than the current one; it is connected when it is not yet.
    :raises UnreadableError: the host could not be asked, now or earlier in this run.
    """
    real = host or this_host()
    known = _of(real)
    if state.is_executing and not known.executing:
        known.executing = True
        _keep_fresh(real, known)
    key = (fact, tuple(sorted(arguments.items())))
    with known.asking[key]:
        if key not in known.facts:
            age, asked = known.age, time.monotonic()
            answer = _get(real, fact, arguments)
            if real in real.state.failed_hosts:
                # pyinfra goes on with the fact's default, which would read as "nothing is there"
                raise UnreadableError(f"{real.name} could not be asked: see the error above")
            if answer is UNREAD:
                raise UnreadableError(
                    f"{real.name} did not say what it is: its login shell ran nothing; "
                    "try: pyinfra INVENTORY exec -- uname -m"
                )
            if age != known.age:
                return cast(T, answer)  # something changed there meanwhile: the next one asks again
            known.facts[key] = asked, answer
        return cast(T, known.facts[key][1])


def _keep_fresh(host: Host, known: _Known) -> None:
    lock, now = held(host), time.monotonic()
    since = max(lock.quiet_since, now - FRESH) if lock else now
    known.facts = {key: found for key, found in known.facts.items() if found[0] >= since}


def _get(host: Host, fact: type[FactBase[T]], arguments: dict[str, Any]) -> T | None:
    if host in host.state.failed_hosts:
        return None
    try:
        # the question that connects a host goes first, alone
        with nullcontext() if host.connected else _of(host).connecting:
            if host.connected:
                prepare(host)
            with session(host):
                return host.get_fact(fact, **of_call(host), **arguments)
    except ConnectError as error:
        raise UnreadableError(f"{host.name} can't be reached: {error}") from error
    except PyinfraError as error:  # that was the last host, and pyinfra would end by a traceback
        raise UnreadableError(f"{host.name} could not be asked: see the error above") from error
    except BROKEN as error:
        why = f": {error}" if str(error) else ""
        raise UnreadableError(f"{host.name} could not be asked: the connection broke{why}") from error


def ask(fact: type[FactBase[T]], host: Host, **arguments: Any) -> T | None:
    """What :func:`observe` says, or None where the host can't be asked: for what must go on without it."""
    try:
        return observe(fact, host, **arguments)
    except UnreadableError:
        return None


Question = tuple[type[FactBase[Any]], Host, dict[str, Any]]
"""What :func:`observe` is asked: a fact, a host, arguments."""


def ask_all(questions: Iterable[Question]) -> None:
    """Ask all this at the same time; what went wrong is for who observes or asks it afterwards."""

    def quietly(fact: type[FactBase[Any]], host: Host, arguments: dict[str, Any]) -> None:
        with suppress(PyinfraError):
            observe(fact, host, **arguments)

    gevent.joinall([gevent.spawn(quietly, *question) for question in questions])


def forget(host: Host, *facts: type[FactBase[Any]]) -> None:
    """Drop what is known of a host, because something changed there; where facts are named, only what they said."""
    known = _of(host)
    known.facts = {key: found for key, found in known.facts.items() if facts and key[0] not in facts}
    known.age += 1
