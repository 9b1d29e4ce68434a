"""The main Docker started again as it was before us, and docker0's old address with it."""

from __future__ import annotations

import shlex

from pyinfra import host
from pyinfra.api import StringCommand

from ..facts.daemons import DaemonsFact
from ..facts.files import HostFiles
from ..facts.leftovers import Leftovers
from ..observe import observe
from ..operation import Commands, operation
from ..plan import say
from ..platforms import RestartStrategy
from ..record import BEFORE_DOCKER0, MAIN, NODE, SUBNET_ENV
from ..subnets import DOCKER_POOLS, bridge_address, gateway, subnet_in
from ..topology import Node
from .files import note
from .restarts import Bounced, bounce, or_evidence


def _pools(node: Node) -> list[tuple[str, int]]:
    """What Docker takes networks from, by daemon.json or its own default."""
    theirs = (node.found.daemon_json or {}).get("default-address-pools")
    if not isinstance(theirs, list):
        return list(DOCKER_POOLS)
    pools = [p for p in theirs if isinstance(p, dict) and isinstance(p.get("size"), int)]
    return [(str(p.get("base")), p["size"]) for p in pools]


def restores(node: Node) -> bool:
    """Whether a turndown restarts the main Docker: where it runs on the pod network, or docker0 has not got its old
    address."""
    now, mine = observe(DaemonsFact, node.host), subnet_in(observe(HostFiles, node.host).content(SUBNET_ENV))
    ours = mine is not None and f"--bip={gateway(mine)}" in now.main.command
    wanted, _ = _wanted(node)
    halfway = bool(wanted) and f"--bip={wanted}" in now.main.command  # an ended run left Docker so
    return ours or halfway or wanted not in ("", now.docker0)


def _wanted(node: Node) -> tuple[str, str | None]:
    """The address that docker0 gets, and the network that keeps it from its old one."""
    before = observe(DaemonsFact, node.host).docker0_before
    if not before:
        return "", None
    networks = observe(Leftovers, node.host).networks
    routes = [route.split(" ")[0] for route in node.found.routes if not route.endswith(" docker0")]
    return bridge_address(before, networks, routes, _pools(node))


@operation
def docker0_recorded(drop_in: str) -> Commands:
    """
    Ensure that the record says, before the drop-in is written, what address docker0 had before us.

    + drop_in: path of our drop-in
    """
    now = observe(DaemonsFact)
    if now.docker0_before or observe(HostFiles).ours(drop_in):
        host.noop("the record knows docker0's address before us")
        return
    say(f"Will record in {BEFORE_DOCKER0} the address that docker0 has: {now.docker0 or 'none'}")
    yield StringCommand(f"[ -e {BEFORE_DOCKER0} ] || {{ {note(BEFORE_DOCKER0, now.docker0)}; }}")


@operation
def main_daemon_restored(node: Node, command: str, drop_in: str, bounced: Bounced) -> Commands:
    """
    Start the main Docker without our drop-in, which is gone by now; docker0 gets its old address, or, where a
    network of Docker has taken that since, a free one.

    + node: whose Docker
    + command: what docker's unit runs without us
    + drop_in: path of our drop-in
    + bounced: running containers of others, named in the plan
    """
    restart, now, files = node.restart, observe(DaemonsFact), observe(HostFiles)
    if not restores(node):
        reread = files.ours(drop_in) or (now.main.needs_reload and files.ours(NODE))
        yield from _runs_without_us(restart.reload if reread else "", now.docker0_before)
        return
    wanted, taken_by = _wanted(node)
    address = f"the address {wanted}" if wanted else "an address"
    say(
        f"Will restart the main Docker, twice: once to give docker0 {address}, then as it was before us; which "
        f"restarts {bounced}"
    )
    if taken_by:
        say(f"docker0 had {now.docker0_before} before us, which Docker's network {taken_by} has by now")
    yield _as_before(restart, command, wanted, bounced)


def _runs_without_us(reload: str, before: str) -> Commands:
    """What is left to do where Docker has not run with our drop-in, or does no more."""
    todo = []
    if reload:
        say("Will let systemd read docker's unit again; docker is not restarted")
        todo.append(reload)
    if before:  # of a run that ended before Docker's restart; docker0 may get another address since
        say(f"Will remove {BEFORE_DOCKER0}")
        todo.append(f"rm -f {BEFORE_DOCKER0}")
    if todo:
        yield StringCommand("; ".join(todo))
        return
    host.noop("the main Docker runs without us")


def _as_before(restart: RestartStrategy, command: str, wanted: str, bounced: Bounced) -> StringCommand:
    """The restart, by way of docker0's old address."""
    stop = f"{restart.stop.format(unit='docker.socket')} 2>/dev/null; {restart.stop.format(unit=MAIN)}"
    # Without --bip dockerd keeps the address that docker0 has or, since 28, had at its last start (measured
    # on 28.5.2, also with the bridge deleted): so it is started once with the desired one. Where that fails, Docker
    # is started all the same.
    once = restart.start_once.format(command=shlex.quote(command), flag=shlex.quote(f"--bip={wanted}"))
    first = f"{{ {once}; }}" if wanted else "ip link del docker0 2>/dev/null"
    again = f"{stop}; {or_evidence(restart.start.format(unit=MAIN), restart, MAIN)}"
    look = "now=$(ip -4 -o addr show dev docker0)"
    moved = (
        f"case $now in *' {wanted} '*) ;; *) "
        f'echo "docker0 is $(echo "$now" | awk \'{{print $4}}\') now, it should be {wanted}" >&2; exit 1;; esac'
    )
    return StringCommand(
        f"{restart.reload}; {{ {bounce(f'( {stop}; {first}; {again} )', restart)}; }} || exit 1; "
        + (f"{look}; {moved}; " if wanted else "")
        + f"rm -f {BEFORE_DOCKER0}"
    )
