"""The two Docker daemons: installed, started and restarted by the host's restart strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import OperationMeta

from ..dockerd import NO_PROXY
from ..facts.daemons import LABEL, POD, Daemons, DaemonsFact
from ..facts.etcd import EtcdSubnets
from ..facts.files import HostFiles
from ..facts.leftovers import Leftovers
from ..node_subnet import subnet_of
from ..observe import observe
from ..operation import Commands, changed, operation, removal
from ..plan import say
from ..platforms import RestartStrategy
from ..record import BOOTSTRAP, BOOTSTRAP_DATA, MAIN, NODE, RECORD
from ..subnets import gateway
from ..topology import Node
from .files import File, remove_files, unread

NAMESPACES = ("dmboot", "dmbootp")
"""Of the bootstrap daemon in the host's containerd; short, for they are part of socket paths."""
# with live-restore containers outlive their daemon
_NO_TASKS = (
    f"! command -v ctr >/dev/null || for n in {' '.join(NAMESPACES)}; do for t in $(timeout 20 ctr -n $n tasks ls -q); "
    "do timeout 20 ctr -n $n tasks kill $t; i=0; while [ $((i+=1)) -le 50 ] && timeout 20 ctr -n $n tasks ls | "
    'grep -q "^$t .*RUNNING"; do sleep 0.2; done; timeout 20 ctr -n $n tasks rm -f $t; done; '
    "timeout 20 ctr -n $n containers ls -q | xargs -r timeout 20 ctr -n $n containers rm; done >/dev/null 2>&1"
)
# dockerd leaves leases and manifests there, with containerd's image store also images, and a namespace that is not
# empty stays; --sync waits until what only the images held is gone, snapshots too
_NO_NAMESPACES = (
    f"! command -v ctr >/dev/null || for n in {' '.join(NAMESPACES)}; do timeout 20 ctr -n $n leases ls -q | "
    "xargs -r timeout 20 ctr -n $n leases rm; timeout 20 ctr -n $n images ls -q | "
    "xargs -r timeout 60 ctr -n $n images rm --sync; timeout 20 ctr -n $n content ls -q | "
    "xargs -r timeout 20 ctr -n $n content rm; timeout 20 ctr namespaces remove $n; done >/dev/null 2>&1"
)
REVISION = "DOCKER_MULTINODE_REVISION"
STAY_DOWN = ("", "no", "on-failure")
"""Restart policies with which Docker leaves down what ended well when it was stopped (measured on 26.1.5)."""
_STATE = (
    "{{.Name}}|{{.HostConfig.RestartPolicy.Name}}|{{.HostConfig.AutoRemove}}|"
    f'{{{{if or (index .Config.Labels "{LABEL}") (index .Config.Labels "{POD}")}}}}ours{{{{end}}}}'
)
_START_AGAIN = (*STAY_DOWN, "unless-stopped")
"""Restart policies of what the run starts. A Docker that runs with live-restore, though daemon.json has it no more,
leaves containers alive; the next one ends those, and leaves down what has `unless-stopped`, as after it was killed. A
start of what runs already does nothing."""
# oldest first: a later one may use an earlier one's network
_DOWN_AFTER = (
    f"timeout 60 docker ps -q | tac | xargs -r timeout 60 docker inspect --format '{_STATE}' 2>/dev/null | "
    f"sed -nE 's#^/(.*)[|]({'|'.join(_START_AGAIN)})[|]false[|]$#\\1#p'"
)


@dataclass(frozen=True)
class Bounced:
    """Running containers, not of ours or of pods, that a restart of the main Docker stops."""

    names: tuple[str, ...] = ()
    """All of them."""
    without_policy: tuple[str, ...] = ()
    """Those that Docker does not start again by itself: the run does."""
    lost: tuple[str, ...] = ()
    """Those that Docker removes when they stop (``docker run --rm``)."""
    proxied: tuple[str, ...] = ()
    """Those whose published ports Docker's proxy carries over IPv6."""

    def __str__(self) -> str:
        """As a part of a sentence that begins with a restart."""
        if not self.names:
            return "no container of others"
        said = f"the running containers {', '.join(self.names)}"
        if self.without_policy:
            said += f"; {', '.join(self.without_policy)}, without a restart policy, by this run"
        if self.lost:
            said += f"; {', '.join(self.lost)} was run with --rm and will be gone"
        return said


def bounce(command: str, restart: RestartStrategy) -> str:
    """A command that restarts the main Docker, and then starts again what would stay down: containers of others
    that run by then, also those that came after the plan, and units that the host's owner made depend on docker's."""
    units = restart.start.format(unit="$units")
    # asking a Docker that is down could start it, by its socket
    down = f"! {restart.active.format(unit=MAIN)} || {_DOWN_AFTER}"
    again = "timeout 60 docker start $down >/dev/null"  # twice: one may need another that comes after it
    return (
        f"units=$({restart.needing.format(unit=MAIN)}); down=$({down}); {{ {command}; }}; rc=$?; "
        f'[ -z "$down" ] || {again} 2>&1 || {again} || rc=1; [ -z "$units" ] || {units}; [ $rc = 0 ]'
    )


def set_rule(rule: str) -> str:
    """The command that sets a rule of iptables where it is not, before all others of its chain."""
    return f"iptables -w -C {rule} 2>/dev/null || iptables -w -I {rule}"


def or_evidence(command: str, restart: RestartStrategy, unit: str) -> str:
    """The command; where it fails, what the unit says of it, and failure."""
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
    stale = state.active and bool(
        news or state.forgotten or state.needs_reload or state.environment.get(REVISION) != revision
    )
    if state.active and state.enabled and not stale:
        host.noop("the bootstrap daemon runs as it should")
        return
    verb = "restart" if stale else "start" if not state.active else "enable"
    because = f", which reads {', '.join(news)} at its start" if stale and news else ""
    if state.forgotten:
        because = f", which lost {', '.join(state.forgotten)} when it started on a full disk"
    say(f"Will {verb} the bootstrap daemon{because} (its containers go on: live-restore)")
    yield StringCommand(
        f"{restart.reload} && {restart.enable.format(unit=BOOTSTRAP)} && "
        + or_evidence((restart.restart if stale else restart.start).format(unit=BOOTSTRAP), restart, BOOTSTRAP)
    )


def _bootstrap_is_there(unit: str) -> bool:
    return bool(observe(HostFiles).ours(unit)) or BOOTSTRAP_DATA in observe(Leftovers).paths


@operation
def bootstrap_daemon_started(restart: RestartStrategy, unit: str) -> Commands:
    """
    Ensure that the bootstrap daemon of a node runs, so that our containers can be taken out of it. If it does not
    come up, what it left running is ended.

    + restart: how, on this host
    + unit: path of its unit
    """
    if observe(DaemonsFact).bootstrap.active or not _bootstrap_is_there(unit):
        host.noop("the bootstrap daemon runs, or is not there")
        return
    say("Will start the bootstrap daemon, which is down, and then remove flannel and etcd, which only it knows")
    yield StringCommand(f"{restart.reload}; {restart.start.format(unit=BOOTSTRAP)} 2>/dev/null || {_NO_TASKS}")


@removal
def no_bootstrap_daemon(restart: RestartStrategy, unit: str) -> Commands:
    """
    Ensure that the bootstrap daemon is stopped and not enabled.

    + restart: how, on this host
    + unit: path of its unit; another one with this name is somebody else's
    """
    state = observe(DaemonsFact).bootstrap
    if not _bootstrap_is_there(unit):
        host.noop("the bootstrap daemon is not there")
        return
    say(
        f"Will stop and disable the bootstrap daemon, and remove its namespaces {', '.join(NAMESPACES)} in containerd"
        + ("" if state.active else " with what still runs in them")
    )
    yield StringCommand(
        f"{restart.stop.format(unit=BOOTSTRAP)}; {restart.disable.format(unit=BOOTSTRAP)}; "
        f"{_NO_TASKS}; {_NO_NAMESPACES}; "
        f"! {restart.active.format(unit=BOOTSTRAP)}"
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
    if now.main.forgotten:
        return f"it lost {', '.join(now.main.forgotten)} when it started on a full disk"
    if now.flushed:
        return "somebody flushed its rules of iptables, which only its start makes again"
    if now.docker0 != bip:
        return f"docker0 has {now.docker0 or 'no address'} instead of {bip}"
    return None


def _is_among(rule: str, rules: Sequence[str]) -> bool:
    """Whether it is one of these, in whatever order iptables prints its matches."""
    return sorted(rule.split()) in [sorted(other.split()) for other in rules]


@operation
def main_daemon(
    node: Node,
    flags: tuple[str, ...],
    revision: str,
    rules: Sequence[str],
    drop_in: str,
    bounced: Bounced,
    when: Sequence[OperationMeta] = (),
) -> Commands:
    """
    Ensure that the main Docker runs on the pod network. If it does not come up so, the drop-in is
    taken away and Docker is started without it.

    + node: whose subnet docker0 gets, by whose restart strategy
    + flags: what must stand in its command line
    + revision: hash of the environment that it must have from us
    + rules: of ours in the chain DOCKER-USER, as iptables takes them; Docker's start sets them
    + drop_in: path of our drop-in, for the way back
    + bounced: running containers of others, named in the plan
    + when: operations that write what systemd has to read again
    """
    restart, now = node.restart, observe(DaemonsFact)
    bip = gateway(subnet_of(node, observe(EtcdSubnets, node.first_master)))
    why = why_restart(now, flags, bip, revision)
    have = [line.removeprefix("-A ") for line in now.rules]
    stale = [rule for rule in have if not _is_among(rule, rules)]
    away = "".join(f"iptables -w -D {rule} 2>/dev/null; " for rule in stale)
    if stale:
        say("Will remove rules of iptables that other settings had:", *stale)
    if why is None:
        reload, lost = now.main.needs_reload or changed(when), [r for r in rules if not _is_among(r, have)]
        if reload:
            say("Will let systemd read docker's unit again; docker is not restarted")
        if lost:
            say("Will set rules of iptables that somebody removed:", *lost)
        if reload or lost or stale:
            again = (f"{{ {set_rule(rule)}; }}" for rule in lost)
            yield StringCommand(away + (" && ".join([*([restart.reload] if reload else []), *again]) or "true"))
            return
        host.noop("the main Docker runs on the pod network")
        return
    say(f"Will restart the main Docker because {why}; which restarts {bounced}")
    if bounced.proxied and NO_PROXY in flags and NO_PROXY not in now.main.command:
        say(
            f"Published ports of {', '.join(bounced.proxied)} will no longer be reached over IPv6, as by "
            "Docker's proxy; give them a network with IPv6: docker network create --ipv6"
        )
    written = (
        f"[ -e {drop_in} ] || {{ echo 'docker is not restarted, for {drop_in} is not there; run this again, "
        "which writes it' >&2; exit 1; }"
    )
    go = restart.restart.format(unit=MAIN)
    failed = f"{RECORD}/docker-drop-in.failed"
    back = f"mv -f {drop_in} {failed}; {restart.reload}; {go}"
    state = restart.state.format(unit=MAIN)
    # said last: writing into a connection that broke would end the way back
    go_or_back = (
        f"{go} || {{ why=$({state}); {back}; printf '%s\\n' 'docker does not come up on the pod network:' \"$why\" "
        f"'it was started without our drop-in, which is kept as {failed}' >&2; false; }}"
    )
    yield StringCommand(
        f"{written}; {away}{restart.reload}; {{ {bounce(go_or_back, restart)}; }} || exit 1; "
        f"ip -4 -o addr show dev docker0 | grep -qF ' {bip} ' || "
        f'{{ echo "docker0 did not get {bip}: $(ip -4 -o addr show dev docker0)" >&2; exit 1; }}'
    )


@operation
def main_daemon_started(restart: RestartStrategy, drop_in: str, bounced: Bounced) -> Commands:
    """
    Ensure that the main Docker of a node runs and knows our containers, so that they can be taken out of it. If it
    does not come up with our drop-in, it is started without.

    + restart: how, on this host
    + drop_in: path of our drop-in
    + bounced: running containers of others, named in the plan
    """
    known, main = observe(HostFiles), observe(DaemonsFact).main
    if (main.active and not main.forgotten) or not (known.ours(NODE) or known.ours(drop_in)):
        host.noop("the main Docker runs, or nothing of ours does in it")
        return
    if main.active:
        lost = ", ".join(main.forgotten)
        say(
            f"Will restart the main Docker, which lost {lost} when it started on a full disk, which restarts "
            f"{bounced}; and then remove the kubelet and its pods, which it does not know now"
        )
        again = or_evidence(restart.restart.format(unit=MAIN), restart, MAIN)
        yield StringCommand(bounce(f"( {again} )", restart))
        return
    say("Will start the main Docker, which is down, and then remove the kubelet and its pods, which only it knows")
    go = restart.start.format(unit=MAIN)
    without = f"{{ {remove_files([drop_in]).get_raw_value()}; {restart.reload}; {or_evidence(go, restart, MAIN)}; }}"
    yield StringCommand(f"{restart.reload}; {go} 2>/dev/null || {without}")
