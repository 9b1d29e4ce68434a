"""Asking a host all that a run wants to know, at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host

from ..observe import Question, ask_all
from ..operation import Commands, operation


@operation
def looked_at(questions: Sequence[Question]) -> Commands:
    """
    Ask all this at the same time, so that what follows finds it known; nothing changes.

    + questions: what the operations of the run will observe
    """
    ask_all(questions)
    host.noop(f"{len(questions)} questions are answered")
    yield from ()


@operation
def together() -> Commands:
    """
    Let no host begin what follows before every host is here: pyinfra ends an operation on all of them first.
    """
    host.noop("every host is here")
    yield from ()
