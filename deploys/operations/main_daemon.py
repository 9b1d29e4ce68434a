"""The main Docker on the pod network: restarted only where it must be, and never left down."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.operation import OperationMeta

from ..dockerd import NO_USERLAND_PROXY
from ..facts.daemons import DaemonsFact
from ..facts.docker import Daemons
from ..facts.etcd import EtcdSubnets
from ..facts.files import HostFiles
from ..node_subnet import subnet_of
from ..observe import observe
from ..operation import Commands, changed, operation
from ..plan import say
from ..platforms import RestartStrategy
from ..record import MAIN, NODE, RECORD
from ..subnets import gateway
from ..topology import Node
from .files import remove_files
from .restarts import REVISION, Bounced, bounce, or_evidence


def set_rule(rule: str) -> str:
    """The command that sets a rule of iptables where it is not, before all others of its chain."""
    return f"iptables -w -C {rule} 2>/dev/null || iptables -w -I {rule}"


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
        reload = [restart.reload] if now.main.needs_reload or changed(when) else []
        yield from _without_restart(away, reload, [rule for rule in rules if not _is_among(rule, have)])
        return
    say(f"Will restart the main Docker because {why}; which restarts {bounced}")
    if bounced.proxied and NO_USERLAND_PROXY in flags and NO_USERLAND_PROXY not in now.main.command:
        say(
            f"Published ports of {', '.join(bounced.proxied)} will no longer be reached over IPv6: only Docker's proxy "
            "carried that, and it is switched off. Give them a network with IPv6: docker network create --ipv6"
        )
    written = (
        f"[ -e {drop_in} ] || {{ echo 'docker is not restarted, for {drop_in} is not there; run this again, "
        "which writes it' >&2; exit 1; }"
    )
    yield StringCommand(
        f"{written}; {away}{restart.reload}; {{ {bounce(_go_or_back(restart, drop_in), restart)}; }} || exit 1; "
        f"ip -4 -o addr show dev docker0 | grep -qF ' {bip} ' || "
        f'{{ echo "docker0 did not get {bip}: $(ip -4 -o addr show dev docker0)" >&2; exit 1; }}'
    )


def _without_restart(away: str, reload: list[str], lost: Sequence[str]) -> Commands:
    """What there is to do at a main Docker that runs with the flags that it should."""
    if reload:
        say("Will let systemd read docker's unit again; docker is not restarted")
    if lost:
        say("Will set rules of iptables that somebody removed:", *lost)
    if not (reload or lost or away):
        host.noop("the main Docker runs on the pod network")
        return
    again = (f"{{ {set_rule(rule)}; }}" for rule in lost)
    yield StringCommand(away + (" && ".join([*reload, *again]) or "true"))


def _go_or_back(restart: RestartStrategy, drop_in: str) -> str:
    """A command that restarts the main Docker, and where it does not come up, without our drop-in."""
    go, state = restart.restart.format(unit=MAIN), restart.state.format(unit=MAIN)
    failed = f"{RECORD}/docker-drop-in.failed"
    # said last: writing into a connection that broke would end the way back
    return (
        f"{go} || {{ why=$({state}); "
        f"mv -f {drop_in} {failed} && kept=', which is kept as {failed}' || rm -f {drop_in}; "
        f"{restart.reload}; {go} && end='it was started without our drop-in' || "
        "end='it does not start without our drop-in either'; "
        "printf '%s\\n' 'docker does not come up on the pod network:' \"$why\" \"$end$kept\" >&2; false; }"
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
