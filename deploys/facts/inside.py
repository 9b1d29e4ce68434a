"""A program of a container, run for a question: by chroot, for that takes a fifth of what `docker exec` does."""

from __future__ import annotations

from ..record import SOCKETS
from .docker import LABEL

_RUNS = {"bootstrap": f"[ -S {SOCKETS['bootstrap']} ]", "main": "systemctl is-active --quiet docker"}
"""Whether a daemon may be asked. A question at the main one's socket would start it; the other's has no socket unit."""

# somebody else's container may have the name
_PID = f'{{{{if index .Config.Labels "{LABEL}"}}}}{{{{.State.Pid}}}}{{{{end}}}}'


# as `docker exec` gives it: a proxy or a PATH of the login is the host's, not the container's
_ENV = "env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def within(container: str, daemon: str, command: str, limit: int) -> str:
    """Shell text that defines ``inside``: a program in a container's root, with the arguments that ``inside`` gets.

    What the container has mounted is there too (proc(5), /proc/pid/root). Where it does not run, its root is a place
    that is never there, so that the program fails.

    :param daemon: the container's: ``bootstrap`` or ``main``.
    :param limit: seconds for which the program may run.
    """
    pid = f"timeout 20 docker -H unix://{SOCKETS[daemon]} inspect --format '{_PID}' {container} 2>/dev/null"
    return f"""root=/proc/$(! {_RUNS[daemon]} || {pid})/root
inside() {{ timeout {limit} {_ENV} chroot "$root" {command} "$@"; }}"""
