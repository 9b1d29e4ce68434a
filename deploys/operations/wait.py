"""Waits and checks: a loop on the host with a time limit, and on failure the evidence. At the end how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import OperationMeta

from ..operation import Commands, changed, operation
from ..plan import say, tell


def until(what: str, test: str, limit: int, evidence: str, further: str) -> str:
    """A loop that ends when the test succeeds, or fails with what there is to see.

    :param what: what is waited for, as it reads after "waited N s for".
    :param test: shell command; its exit status decides.
    :param limit: seconds.
    :param evidence: shell command whose output says why, printed on failure.
    :param further: command for the user to type next.
    """
    look = shlex.quote(f"to look further: {further}")
    return (
        f"end=$(($(date +%s)+{limit})); until {{ {test} ; }} >/dev/null 2>&1; do "
        f'if [ $(date +%s) -ge $end ]; then {{ echo "waited {limit} s for {what}, in vain; the last words:"; '
        f"{{ {evidence} ; }} 2>&1 | tail -n 20; echo {look}; }} >&2; exit 1; fi; sleep 0.5; done"
    )


@operation
def wait_for(
    what: str, test: str, limit: int, evidence: str, further: str, when: Sequence[OperationMeta], first: str = ""
) -> Commands:
    """
    Wait on the host until a test succeeds, where an earlier operation changed something.

    + what: what is waited for
    + test: shell command that succeeds when it is there
    + limit: seconds
    + evidence: shell command whose output says why it is not
    + further: command for the user to look further
    + when: operations whose change makes the wait necessary
    + first: shell command that is run before, where there is need to wait
    """
    if not changed(when):
        host.noop(f"nothing changed that {what} depends on")
        return
    yield StringCommand((f"{first}; " if first else "") + until(what, test, limit, evidence, further))


@operation
def verified(what: str, test: str, limit: int, evidence: str, further: str, when: Sequence[OperationMeta]) -> Commands:
    """
    Check on the host that the cluster does what it should, where this run changed something there.

    + what: what is checked
    + test: shell command that succeeds when it holds
    + limit: seconds
    + evidence: shell command whose output says why it does not
    + further: command for the user to look further
    + when: all operations of the run on this host
    """
    if not changed(when):
        host.noop(f"nothing changed, {what} is not checked again")
        return
    say(f"Will check {what}")
    yield StringCommand(until(what, test, limit, evidence, further))


@operation
def told(line: str, when: Sequence[OperationMeta]) -> Commands:
    """
    Say how to go on, at the end of a run that changed something.

    + line: what to say
    + when: all operations of the run on this host
    """
    if not changed(when):
        host.noop("nothing changed")
        return
    yield tell(line)
