"""What an operation says in the plan, and how it fails for one host."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar

from pyinfra import host as current_host
from pyinfra import logger, state
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .scope import bound


def shows_diffs() -> bool:
    """Whether to print a diff now: once, in the plan, or at run time where -y skipped the plan."""
    return bool(state.config.DIFF) and (not state.is_executing or not state.check_for_changes)


_overheard: ContextVar[list[str] | None] = ContextVar("overheard", default=None)


def overheard() -> AbstractContextManager[list[str]]:
    """Within it, what operations would print is collected instead."""
    return bound(_overheard, [])


def printable(text: str) -> str:
    """The text without what moves a terminal's cursor or colours it: much of it comes from hosts."""
    return "".join(c if c.isprintable() or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(title: str, *lines: str) -> None:
    """Print what will happen, with its lines below."""
    title, *shown_lines = map(printable, (title, *lines))
    collected = _overheard.get()
    if collected is not None:
        collected.extend((title, *(f"  {line}" for line in shown_lines)))
    elif shows_diffs():
        current_host.log(title)
        for line in shown_lines:
            logger.info("      %s", line)


def say_diff(title: str, old: Sequence[str], new: Sequence[str]) -> None:
    """Print what will happen, with the lines that go and come; all of them where there were none."""
    if not old:
        say(title, *(f"+ {line}" for line in new))
        return
    lines = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    say(title, *lines)


def unknown(reason: str) -> StringCommand:
    """A change whose commands are not known yet; in the plan only, it is never executed."""
    return StringCommand(f"false # planned: {reason}")


def _tell(state: State, host: Host, line: str) -> None:
    host.log(line)


def tell(line: str) -> FunctionCommand:
    """Say this when the run is there; the plan has none of it."""
    return FunctionCommand(_tell, (line,), {})


def _fail(state: State, host: Host, reason: str) -> bool:
    host.log_styled(reason, fg="red", log_func=logger.error)
    return False


def fail(reason: str) -> FunctionCommand:
    """Fail this host with a sentence, which the plan has too; the others go on. An exception would stop them all."""
    if not state.is_executing:
        say(f"Will fail: {reason}")
    return FunctionCommand(_fail, (reason,), {})
