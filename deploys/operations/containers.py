"""Containers on either daemon. The desired specification stands in a label, so drift is seen."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra import host, state
from pyinfra.api import StringCommand

from ..facts.daemons import DaemonsFact
from ..facts.docker import LABEL, ContainerState, name_taken, of_system
from ..facts.files import HostFiles
from ..observe import observe
from ..operation import Commands, operation, removal
from ..plan import fail, say, say_diff
from ..record import RECORD, SOCKETS
from .files import File, changed_since, differs, make_directories, unread


@dataclass(frozen=True)
class Spec:
    """A container as it should be.

    :param options: words of ``docker run`` before the image, each one argument.
    :param command: words after the image.
    :param revision: changes when something that the container reads only at its start changes.
    """

    image: str
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    revision: str = ""

    def lines(self) -> list[str]:
        """The specification, a line an item, as the label keeps it and a diff shows it."""
        revision = [f"revision {self.revision}"] if self.revision else []
        options = [f"option {word}" for word in self.options]
        return [f"image {self.image}", *revision, *options, *(f"argument {word}" for word in self.command)]


def docker(daemon: str) -> str:
    """The docker command for a daemon."""
    return f"docker -H unix://{SOCKETS[daemon]}"


def restart_command(daemon: str, name: str) -> str:
    """The command that starts a container again, also one that stands still."""
    return f"{docker(daemon)} restart -t 5 {name} >/dev/null"


def run_command(daemon: str, name: str, spec: Spec) -> str:
    """The command that creates and starts the container.

    Without a configuration of the client, for which a place is named where none is: root's own may put proxies into
    each container (https://docs.docker.com/engine/cli/proxy), and the cluster's programs would ask each other by them.
    """
    label = f"{LABEL}={json.dumps(spec.lines())}"
    words = ["run", "-d", "--name", name, "--label", label, *spec.options, spec.image, *spec.command]
    return f"{docker(daemon)} --config {RECORD}/none {shlex.join(words)} >/dev/null"


def _remove_ours(daemon: str, name: str) -> str:
    ours = f"{docker(daemon)} ps -aq --filter name=^/{name}$ --filter label={LABEL}"
    return f"{ours} | xargs -r {docker(daemon)} rm -f -v >/dev/null"


def stale(have: ContainerState | None, spec: Spec) -> bool:
    """Whether a container must be created, anew where there is one."""
    return have is None or have.spec != spec.lines()


@operation
def container(
    daemon: str,
    container: str,
    spec: Spec,
    reads: Sequence[File] = (),
    renewed: Sequence[str] = (),
    directories: Sequence[str] = (),
) -> Commands:
    """
    Ensure a container runs with exactly this specification.

    + daemon: ``bootstrap`` or ``main``
    + container: its name
    + spec: the specification
    + reads: files that the program reads at its start only, of which spec.revision is a hash
    + renewed: paths of files that it reads at its start only, and that are replaced while it runs
    + directories: what it has mounted and Docker would make without a record, made with one before it is created

    It is created anew when the specification changed, started when it only stands still, and started again when
    a file that it reads was changed behind its back. One of somebody else's that has the name is never touched.
    """
    now = observe(DaemonsFact).of(daemon)
    if container in now.others:
        yield fail(name_taken(container, daemon))
        return
    if container in now.forgotten and not state.is_executing:
        host.noop(f"container {container} is there again when its daemon has restarted")
        return
    have = now.containers.get(container)
    if have and not stale(have, spec):
        news = [*unread(reads, have.started), *changed_since(renewed, have.started)]
        yield from _running(daemon, container, have, news)
        return
    old = [str(line) for line in have.spec] if have and isinstance(have.spec, list) else []
    verb = "replace" if have else "create"
    because = f" (it reads {', '.join(file.path for file in reads)} at its start)" if reads else ""
    if now.down:
        say(f"Unknown whether container {container} is as it should be, the {daemon} daemon is down")
    else:
        say_diff(f"Will {verb} container {container} on the {daemon} daemon{because}", old, spec.lines())
    if directories:
        say(f"Will make these before, where they are missing: {', '.join(directories)}")
        yield make_directories(directories)
    # also removes one that an interrupted run created without starting it
    yield StringCommand(f"{_remove_ours(daemon, container)}; {run_command(daemon, container, spec)}")


def _running(daemon: str, container: str, have: ContainerState, news: Sequence[str]) -> Commands:
    """What makes it run, and with what it reads: files that changed since its start."""
    if have.running and not news:
        host.noop(f"container {container} runs as it should")
        return
    if have.running:
        say(f"Will restart container {container} on the {daemon} daemon, which reads {', '.join(news)} at its start")
    else:
        say(f"Will start container {container} on the {daemon} daemon, which is not running")
    yield StringCommand(restart_command(daemon, container))


@dataclass(frozen=True)
class Program:
    """A program in a static pod.

    :param manifest: its pod's manifest; where that changes, the kubelet replaces the pod.
    :param reads: files that it reads at its start only, or that it has mounted as they were then.
    """

    name: str
    manifest: File
    reads: tuple[File, ...] = ()


@operation
def programs_restarted(programs: Sequence[Program]) -> Commands:
    """
    Ensure that programs in static pods run with the files that they should.

    + programs: those whose manifest does not change are looked at

    It is for files that were changed behind their back. The kubelet starts a program anew that was stopped.
    """
    since, found = observe(DaemonsFact).programs, observe(HostFiles)
    news = {
        program.name: paths
        for program in programs
        if program.name in since
        and not differs(found.ours(program.manifest.path), program.manifest)
        and (paths := unread(program.reads, since[program.name]))
    }
    for name, paths in news.items():
        say(f"Will restart {name}, which reads {', '.join(paths)} at its start")
    for name in news:
        yield StringCommand(f"docker ps -q {of_system(name)} | xargs -r docker stop -t 10 >/dev/null")
    if not news:
        host.noop("every program runs with the files that it should")


@removal
def no_container(daemon: str, container: str) -> Commands:
    """
    Ensure that a container of ours is gone.

    + daemon: ``bootstrap`` or ``main``
    + container: its name
    """
    if container not in observe(DaemonsFact).of(daemon).containers:
        host.noop(f"container {container} is not there")
        return
    say(f"Will stop and remove container {container} from the {daemon} daemon")
    name = shlex.quote(container)
    yield StringCommand(f"{docker(daemon)} stop -t 20 {name} >/dev/null; {docker(daemon)} rm -f -v {name} >/dev/null")
