"""The two Docker daemons: installed, started and restarted by the host's restart strategy."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import OperationMeta

from ..facts.daemons import Daemons, DaemonsFact
from ..facts.etcd import EtcdSubnets
from ..observe import Commands, observe, operation
from ..plan import say
from ..platforms import RestartStrategy
from ..record import BEFORE, RECORD
from ..subnets import gateway
from ..topology import Node
from .changes import changed
from .files import File, unread
from .flannel import subnet_of

BOOTSTRAP = "docker-bootstrap"
MAIN = "docker"
NAMESPACES = ("dmboot", "dmbootp")
"""Of the bootstrap daemon in the host's containerd; short, for they are part of socket paths."""
# dockerd leaves leases and manifests there, and a namespace that is not empty stays
_NO_NAMESPACES = (
    f"! command -v ctr >/dev/null || for n in {' '.join(NAMESPACES)}; do timeout 20 ctr -n $n leases ls -q | "
    "xargs -r timeout 20 ctr -n $n leases rm; timeout 20 ctr -n $n content ls -q | "
    "xargs -r timeout 20 ctr -n $n content rm; timeout 20 ctr namespaces remove $n; done >/dev/null 2>&1"
)
REVISION = "DOCKER_MULTINODE_REVISION"


def _or_evidence(command: str, restart: RestartStrategy, unit: str) -> str:
    state = restart.state.format(unit=unit)
    return f"{command} || {{ echo '{unit} does not come up:' >&2; {{ {state}; }} >&2; exit 1; }}"


@operation
def bootstrap_daemon(restart: RestartStrategy, revision: str, reads: Sequence[File] = ()) -> Commands:
    """
    Ensure that the bootstrap daemon is enabled and runs with its newest configuration.

    + restart: how, on this host
    + revision: hash of its configuration, which its unit puts into its environment
    + reads: its configuration: unit and file
    """
    now = observe(DaemonsFact)
    state = now.bootstrap
    news = unread(reads, now.bootstrap_started)
    stale = state.active and bool(news or state.needs_reload or state.environment.get(REVISION) != revision)
    if state.active and state.enabled and not stale:
        host.noop("the bootstrap daemon runs as it should")
        return
    verb = "restart" if stale else "start" if not state.active else "enable"
    because = f", which reads {', '.join(news)} at its start" if stale and news else ""
    say(f"Will {verb} the bootstrap daemon{because} (its containers go on: live-restore)")
    yield StringCommand(
        f"{restart.reload} && {restart.enable.format(unit=BOOTSTRAP)} && "
        + _or_evidence((restart.restart if stale else restart.start).format(unit=BOOTSTRAP), restart, BOOTSTRAP)
    )


@operation
def no_bootstrap_daemon(restart: RestartStrategy) -> Commands:
    """
    Ensure that the bootstrap daemon is stopped and not enabled.

    + restart: how, on this host
    """
    state = observe(DaemonsFact).bootstrap
    if not state.active and not state.enabled:
        host.noop("the bootstrap daemon is not there")
        return
    say(f"Will stop and disable the bootstrap daemon, and remove its namespaces {', '.join(NAMESPACES)} in containerd")
    yield StringCommand(
        f"{restart.stop.format(unit=BOOTSTRAP)}; {restart.disable.format(unit=BOOTSTRAP)}; "
        f"{_NO_NAMESPACES}; "
        "! systemctl is-active --quiet docker-bootstrap"
    )


def why_restart(now: Daemons, flags: tuple[str, ...], bip: str, revision: str) -> str | None:
    """Why the main Docker must be restarted to run with these flags; None where it need not.

    :param flags: what must stand in its command line.
    :param bip: the address that docker0 must have, with prefix length.
    :param revision: hash of the environment that it must have from us; empty where it has none.
    """
    if not now.main.active:
        return "it is not running"
    missing = [flag for flag in flags if flag not in now.main.command]
    if missing:
        return f"it runs without {' '.join(missing)}"
    if now.main.environment.get(REVISION, "") != revision:
        return "its proxy settings changed"
    if now.docker0 != bip:
        return f"docker0 has {now.docker0 or 'no address'} instead of {bip}"
    return None


@operation
def main_daemon(
    node: Node,
    flags: tuple[str, ...],
    revision: str,
    drop_in: str,
    bounced: tuple[str, ...],
    when: Sequence[OperationMeta] = (),
) -> Commands:
    """
    Ensure that the main Docker runs on the pod network. If it does not come up so, the drop-in is
    taken away and Docker is started as it was.

    + node: whose subnet docker0 gets, by whose restart strategy
    + flags: what must stand in its command line
    + revision: hash of the environment that it must have from us
    + drop_in: path of our drop-in, for the way back
    + bounced: running containers of others, named in the plan
    + when: operations that write what systemd has to read again
    """
    restart, now = node.restart, observe(DaemonsFact)
    bip = gateway(subnet_of(node, observe(EtcdSubnets, node.first_master)))
    why = why_restart(now, flags, bip, revision)
    if why is None:
        if now.main.needs_reload or changed(when):
            say("Will let systemd read docker's unit again; docker is not restarted")
            yield StringCommand(restart.reload)
            return
        host.noop("the main Docker runs on the pod network")
        return
    who = (
        f"which restarts the running containers {', '.join(bounced)}"
        if bounced
        else "which restarts no container of others"
    )
    say(f"Will restart the main Docker because {why}; {who}")
    keep = f"mkdir -p {BEFORE}; [ -e {BEFORE}/docker0 ] || echo '{now.docker0}' > {BEFORE}/docker0"
    go = restart.restart.format(unit=MAIN)
    failed = f"{RECORD}/docker-drop-in.failed"
    back = f"mv -f {drop_in} {failed}; {restart.reload}; {go}"
    state = restart.state.format(unit=MAIN)
    yield StringCommand(
        f"{keep}; {restart.reload}; {go} || {{ {{ echo 'docker does not come up on the pod network:'; {state}; "
        f"echo 'docker is started again as it was; its drop-in is kept as {failed}'; }} >&2; "
        f"{back}; exit 1; }}; ip -4 -o addr show dev docker0 | grep -qF ' {bip} ' || "
        f'{{ echo "docker0 did not get {bip}: $(ip -4 -o addr show dev docker0)" >&2; exit 1; }}'
    )


@operation
def main_daemon_restored(restart: RestartStrategy, command: str, bounced: tuple[str, ...]) -> Commands:
    """
    Start the main Docker without our drop-in, which is gone by now; docker0 gets its old address.

    + restart: how, on this host
    + command: what docker's unit runs without us
    + bounced: running containers of others, named in the plan
    """
    now = observe(DaemonsFact)
    ours = any(word.startswith("--bip=") for word in now.main.command)
    if not ours and not now.main.needs_reload:
        host.noop("the main Docker runs without us")
        return
    who = f"the running containers {', '.join(bounced)}" if bounced else "no container of others"
    say(
        f"Will restart the main Docker, twice, and with it {who}: once to give docker0 its old address, then as it "
        "was before us"
    )
    stop = f"{restart.stop.format(unit='docker.socket')} 2>/dev/null; {restart.stop.format(unit=MAIN)}"
    # Without --bip dockerd keeps the address that docker0 has or, since 28, had at its last start (measured
    # on 28.5.2, also with the bridge deleted): so it is started once with the old one.
    once = restart.start_once.format(command=shlex.quote(command), flag='"--bip=$before"')
    again = f"{stop}; " + _or_evidence(restart.start.format(unit=MAIN), restart, MAIN)
    yield StringCommand(
        f"before=$(grep -xE '([0-9]+[.]){{3}}[0-9]+/[0-9]+' {BEFORE}/docker0 2>/dev/null | head -n 1); "
        f"{restart.reload}; {stop}; "
        f'if [ -n "$before" ]; then {{ {once}; }} || exit 1; else ip link del docker0 2>/dev/null; fi; {again}; '
        "now=$(ip -4 -o addr show dev docker0 | awk '{print $4}'); "
        '[ -z "$before" ] || [ "$now" = "$before" ] || '
        '{ echo "docker0 is $now now, before us it was $before" >&2; exit 1; }'
    )
