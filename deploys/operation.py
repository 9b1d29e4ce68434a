"""What makes an operation ours: what was known of a host that it changed is forgotten, and a run knows what it did."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, cast
from weakref import WeakKeyDictionary

from pyinfra import state
from pyinfra.api import operation as pyinfra_operation
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta

from . import progress
from .busy import marked
from .lock import held
from .observe import UnreadableError, forget, this_host
from .plan import fail, overheard
from .scope import bound

P = ParamSpec("P")

Commands = Generator[PyinfraCommand | str, None, None]

_changes: WeakKeyDictionary[Host, list[OperationMeta]] = WeakKeyDictionary()


def changes(host: Host) -> list[OperationMeta]:
    """The operations of ours that this run has on a host so far."""
    return _changes.setdefault(host, [])


def changed(metas: Sequence[OperationMeta]) -> bool:
    """In the plan: will one of them change something? At run time: did one?"""
    return any(m.did_change() if m.is_complete() else m.will_change for m in metas)


def may_come() -> bool:
    """Whether what is missing on this host now may be there when the run is here: it is a plan of one that changes
    something there before."""
    return not state.is_executing and changed(changes(this_host()))


@dataclass(frozen=True)
class Foreseen:
    """What an operation would change, found out without adding it to the run.

    It stands in for the operation's result where later operations ask for that.
    """

    name: str
    will_change: bool
    lines: tuple[str, ...]

    def is_complete(self) -> bool:
        """It never runs."""
        return False


_foreseen: ContextVar[list[Foreseen] | None] = ContextVar("foreseen", default=None)


def foreseeing() -> AbstractContextManager[list[Foreseen]]:
    """Within it, operations of ours only say what they would change; nothing is added to the run."""
    return bound(_foreseen, [])


def _foresee(function: Callable[..., Commands], *args: Any, name: str, **kwargs: Any) -> Foreseen:
    with overheard() as lines:
        change = next(iter(function(*args, **kwargs)), None) is not None
    return Foreseen(name, change, tuple(lines))


def operation(function: Callable[P, Commands]) -> PyinfraOperation[P]:
    """A pyinfra operation that forgets what was observed after each command that it ran, also one that failed."""
    return _operation(function, forget)


def removal(function: Callable[P, Commands]) -> PyinfraOperation[P]:
    """A pyinfra operation that only takes things away. What was observed stands, so that a turndown need not look
    again after each: no later one asks for what this one took, and where a thing may go along with another the command
    looks for itself.
    """
    return _operation(function, lambda host: None)


def _operation(function: Callable[P, Commands], afterwards: Callable[[Host], None]) -> PyinfraOperation[P]:
    @pyinfra_operation()
    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Commands:
        host = this_host()
        try:
            for command in function(*args, **kwargs):
                if state.is_executing:
                    who = lock.who if (lock := held(host)) else ""
                    try:
                        if who and isinstance(command, FunctionCommand):  # which can't look by itself
                            yield marked("true", who)
                        yield marked(command, who)
                    finally:  # pyinfra closes this where the command failed; with --retry it then begins anew
                        afterwards(host)
                else:
                    yield command
        except UnreadableError as error:
            if not state.is_executing:
                raise
            yield fail(str(error))  # raised here it would stop all hosts

    @wraps(function)
    def noted(*args: Any, **kwargs: Any) -> OperationMeta | Foreseen:
        foreseen = _foreseen.get()
        if foreseen is not None:
            foreseen.append(_foresee(function, *args, **kwargs))
            return foreseen[-1]
        if "limit" in kwargs:
            progress.limited(this_host(), kwargs["name"], kwargs["limit"])
        meta: OperationMeta = inner(*args, **kwargs)
        changes(this_host()).append(meta)
        return meta

    noted._inner = inner._inner  # type: ignore[attr-defined]
    return cast(PyinfraOperation[P], noted)
