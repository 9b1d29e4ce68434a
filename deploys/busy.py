"""Commands that outlive their run: sshd does not end what a connection that broke had started.

Each command of ours holds a shared lock while it, or a child of it, is at work. The next run waits for that.
"""

from __future__ import annotations

import shlex

from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from .record import LOCAL_DOCKER

BUSY = "/run/docker-multinode.busy"
RUN_LOCK = "/run/docker-multinode.lock"
"""Held by the run itself: lock.py."""

MARK = f"[ -e {BUSY} ] || (umask 077; : >>{BUSY}); exec 9>>{BUSY}; flock -s 9;"
"""Stands before each command that changes something. Whoever may read a file may lock it, so only root may."""

WAIT_SECONDS = 300
"""How long a run waits for what an earlier one left at work; a build of the node image takes about that long."""

IDLE = f"exec 8>>{BUSY}; {{ flock -n 8 || {{ echo waiting; flock -w {WAIT_SECONDS} 8; }}; }} && exec 8>&-"
"""Succeeds when nothing of an earlier run is at work any more; says ``waiting`` where it has to wait."""

_AT_REST = f"[ ! -e {BUSY} ] || [ -s {RUN_LOCK} ] || flock -n {BUSY} true"
SETTLED = f"{_AT_REST} || {{ echo '== waited'; flock -w 60 {BUSY} true; }}"
"""The same for a question, which holds no lock and makes no file: waits a minute, and goes on all the same. Its answer
has a part ``waited`` then. What a run does that is still there is not waited for: its lock tells who it is."""


_LOST = (
    "this run was not heard of for so long that its lock has ended, and another run may have begun; nothing more is "
    "changed. Run it again"
)


def marked(command: PyinfraCommand | str, run: str = "") -> PyinfraCommand | str:
    """The command with the mark before it, if it is one of the shell.

    :param run: what the lock must say when the command begins, else it is refused: a control machine that was
        suspended may have lost the lock since.
    """
    if isinstance(command, str):
        command = StringCommand(command.strip())
    if isinstance(command, StringCommand):
        lost = f'[ "$(cat {RUN_LOCK})" = {shlex.quote(run)} ] || {{ echo {shlex.quote(_LOST)} >&2; exit 1; }};'
        return StringCommand(
            LOCAL_DOCKER,
            MARK,
            *([lost] if run else []),
            *command.bits,
            _separator=command.separator,
            **command.connector_arguments,
        )
    return command
