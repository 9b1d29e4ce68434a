"""Commands run beside pyinfra's operations: on another host, or with output that nobody may see."""

from __future__ import annotations

from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .observe import this_host


def _real_state() -> State:
    found: State = this_host().state
    return found


def run(host: Host, command: str, stdin: str | None = None) -> tuple[bool, str, str]:
    """Run a command as the user that the host's operations run as; nothing of it is printed, at any -v.

    :returns: success, standard output, standard error.
    """
    if not host.connected:
        host.connect(raise_exceptions=True)
    arguments, _ = pop_global_arguments(_real_state(), host, {})
    connector = {k: v for k, v in arguments.items() if k in CONNECTOR_ARGUMENT_KEYS}
    if stdin is not None:
        connector["_stdin"] = stdin
    ok, output = host.run_shell_command(
        StringCommand(command),
        print_output=False,
        print_input=False,
        **connector,
    )
    return ok, output.stdout, output.stderr


def quietly(host: Host, command: str) -> str:
    """Standard output of a command, or an empty string where it failed."""
    ok, out, _ = run(host, command)
    return out + "\n" if ok and out else ""
