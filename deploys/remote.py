"""Commands run beside pyinfra's operations: on another host, or with output that nobody may see."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from gevent.lock import BoundedSemaphore
from paramiko import SSHException
from pyinfra.api import StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_config

from .record import LOCAL_DOCKER

BROKEN = (SSHException, OSError, EOFError)
"""What is raised where a connection breaks."""


ALIVE = 15
"""Seconds between two signs of life to a host; its connection is broken when four of them are not acknowledged."""


_calls: WeakKeyDictionary[State, dict[Host, dict[str, Any]]] = WeakKeyDictionary()


def called(host: Host) -> None:
    """Note with what a deploy was called for a host, as in ``cluster(_sudo=True)``, or what its file has set, as in
    ``config.SUDO = True``: pyinfra knows it only within them."""
    outside: Any = SimpleNamespace(data=host.data, current_deploy_kwargs=None)
    with ctx_config.use(host.state.config):
        default: Any = pop_global_arguments(host.state, outside, {})[0]
    arguments: Any = host.current_deploy_kwargs or default
    given = {key: arguments[key] for key in CONNECTOR_ARGUMENT_KEYS if arguments[key] != default[key]}
    _calls.setdefault(host.state, {})[host] = given


def of_call(host: Host) -> dict[str, Any]:
    """With what a deploy was called there; a host that has not begun yet is asked as another one is."""
    calls = _calls.get(host.state) or {host: {}}
    return dict(calls.get(host, next(iter(calls.values()))))


def connector_arguments(host: Host) -> dict[str, Any]:
    """How commands of this run's operations are run on a host: sudo, shell, environment."""
    arguments, _ = pop_global_arguments(host.state, host, of_call(host))
    return {k: v for k, v in arguments.items() if k in CONNECTOR_ARGUMENT_KEYS}


class _Lines:
    """The output of a command, by lines. Bytes that are no UTF-8 are replaced; paramiko would stop reading there."""

    def __init__(self, file: Any, binary: Any) -> None:
        self.channel = file.channel
        self._binary = binary

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def readline(self) -> str:
        """The next line, empty at the end."""
        line: bytes = self._binary.readline()
        return line.decode(errors="replace")

    def read(self) -> str:
        """What is left."""
        rest: bytes = self._binary.read()
        return rest.decode(errors="replace")


def prepare(host: Host) -> None:
    """Let commands on a connected host be quick, and their output be read whatever bytes are in it."""
    client = getattr(host.connector, "client", None)
    if client is None or hasattr(client, "as_it_was"):
        return
    with contextlib.suppress(AttributeError, OSError):  # by way of another host it is no socket
        transport = client.get_transport()
        # of a host that lost its power while a command runs nothing is heard: what is sent to it must be acknowledged
        transport.set_keepalive(ALIVE)
        # paramiko leaves Nagle's algorithm on, which costs 40 ms an execution on a LAN
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4 * ALIVE * 1000)
    client.as_it_was = client.exec_command

    def exec_command(*args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        try:
            stdin, stdout, stderr = client.as_it_was(*args, **kwargs)
        except EOFError as error:  # pyinfra would end all hosts with a traceback
            raise SSHException("the connection broke") from error
        if not hasattr(stdout, "channel"):
            return stdin, stdout, stderr
        channel = stdout.channel
        return stdin, _Lines(stdout, channel.makefile("rb")), _Lines(stderr, channel.makefile_stderr("rb"))

    client.exec_command = exec_command


def own_address(host: Host) -> str | None:
    """This machine's address towards a connected host; None where it is reached by another host, or without ssh."""
    client = getattr(host.connector, "client", None)
    try:
        return str(client.get_transport().sock.getsockname()[0])  # type: ignore[union-attr]
    except (AttributeError, OSError):
        return None


# sshd gives a connection ten sessions (MaxSessions), and many workers ask one master at the same time
_SESSIONS = 5
_sessions: WeakKeyDictionary[Host, BoundedSemaphore] = WeakKeyDictionary()


def session(host: Host) -> BoundedSemaphore:
    """Held while a command beside the operations runs on a host; some may run at the same time."""
    return _sessions.setdefault(host, BoundedSemaphore(_SESSIONS))


def run(host: Host, command: str, stdin: str | None = None) -> tuple[bool, str, str]:
    """Run a command as the user that the host's operations run as; nothing of it is printed, at any -v.

    :param stdin: what the command gets by standard input.
    :returns: success, standard output, standard error; where the connection breaks, that is what the error says.
    """
    with session(host):
        if not host.connected:
            host.connect(raise_exceptions=True)
        prepare(host)
        try:
            ok, output = host.run_shell_command(
                StringCommand(f"{LOCAL_DOCKER} {command}"),
                print_output=False,
                print_input=False,
                **{**connector_arguments(host), **({"_stdin": stdin} if stdin is not None else {})},
            )
        except BROKEN as error:
            # raised in an operation's function it would be shown as a traceback
            return False, "", f"the connection to {host.name} broke: {error}"
    return ok, output.stdout, output.stderr


_PEM = re.compile(r"^-----BEGIN ([A-Z ]+)-----$.*?^-----END \1-----$", re.MULTILINE | re.DOTALL)


def pem(host: Host, path: str) -> str:
    """A key or certificate as PEM, or an empty string where none can be read there. Nothing of it is printed."""
    ok, out, _ = run(host, f"cat {path}")
    found = _PEM.search(out) if ok else None  # a login shell may print something before it
    return found[0] + "\n" if found else ""
