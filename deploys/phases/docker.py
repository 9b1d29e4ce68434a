"""The main Docker on the node's subnet: docker0 is the pod network. A drop-in of constant text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection

from packaging.version import InvalidVersion, Version

from ..facts.daemons import COMMENT, DaemonsFact
from ..observe import observe
from ..operations.daemons import NO_PROXY, STAY_DOWN, Bounced, main_daemon, set_rule, why_restart
from ..operations.docker0 import docker0_recorded, main_daemon_restored
from ..operations.files import File, files, no_files
from ..operations.images import no_images
from ..operations.leftovers import no_rules
from ..record import DOCKER_DROP_IN, KUBELET, RECORD, SUBNET_ENV
from ..render import render
from ..topology import Node
from . import flannel
from .bootstrap import proxies

TITLE = "main Docker"

GIVEN_WAY: dict[str, tuple[str, ...]] = {
    # makes Docker switch on hairpin for each container: a pod reaches itself through its Service
    "userland-proxy": (NO_PROXY,),
    "allow-direct-routing": ("--allow-direct-routing",),
    # cri-dockerd can't rotate the logs of pods
    "log-opts": ("--log-opt=max-size=10m", "--log-opt=max-file=3"),
}
"""Key in daemon.json → flags of ours that are not given where it is there: dockerd refuses to be told twice."""


def docker_version(node: Node) -> Version:
    """Version of the host's Docker: 26.1.5+dfsg1 → 26.1.5."""
    try:
        return Version(node.found.docker_version.split("+")[0].split("~")[0].split("-")[0])
    except InvalidVersion:
        return Version("0")


def drops_routed(node: Node) -> bool:
    """Whether this Docker drops what is routed to docker0 unless told otherwise (28.2 and later)."""
    return docker_version(node) >= Version("28.2")


def command_of(unit: tuple[str, ...], ours: Collection[str]) -> str | None:
    """The command that docker's unit runs without us: of its own file and of foreign drop-ins.

    :param unit: what ``systemctl cat`` prints, a ``# /path`` line before each file.
    :param ours: paths of drop-ins of ours, which are left out.
    """
    command, skip = None, False
    for line in _joined(unit):
        key, equals, value = line.partition("=")
        if line.startswith("# /"):
            skip = line[2:].strip() in ours
        elif not skip and equals and key.strip() == "ExecStart":
            command = value.strip() or None
    return command


def _joined(unit: tuple[str, ...]) -> list[str]:
    """Lines as systemd reads them: one that ends in a backslash goes on in the next."""
    lines: list[str] = []
    goes_on = False
    for line in unit:
        text = line.rstrip().removesuffix("\\").strip()
        if goes_on:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
        goes_on = line.rstrip().endswith("\\")
    return lines


def flags(node: Node) -> tuple[str, ...]:
    """Flags of constant text that the main Docker gets, besides bip and mtu."""
    theirs = node.found.daemon_json or {}
    unknown = () if drops_routed(node) else ("allow-direct-routing",)
    ours = (flag for key, words in GIVEN_WAY.items() if key not in (*theirs, *unknown) for flag in words)
    return (f"--ip-masq={str(not node.settings.flannel_ipmasq).lower()}", *ours)


def told_twice(node: Node) -> list[str]:
    """Keys of daemon.json that came after our drop-in, which still has their flags: dockerd does not start so."""
    if not _has_drop_in(node):
        return []
    words = (command_of(node.found.docker_unit, ()) or "").split()
    return [key for key, ours in GIVEN_WAY.items() if key in (node.found.daemon_json or {}) and ours[0] in words]


def lets_routed_in(node: Node) -> bool:
    """Whether our drop-in has the flag for that, which Docker knows from 28.2 on."""
    words = (command_of(node.found.docker_unit, ()) or "").split()
    return _has_drop_in(node) and GIVEN_WAY["allow-direct-routing"][0] in words


def names_another_dockerd(node: Node) -> str | None:
    """The dockerd that our drop-in runs, where the host has another one by now."""
    words = (command_of(node.found.docker_unit, ()) or "").split()
    return words[0] if _has_drop_in(node) and words and words[0] != node.found.dockerd else None


def running_flags(node: Node) -> tuple[str, ...]:
    """What the main Docker's command line must have besides bip: the flags, and the packet size that is in force."""
    return (*flags(node), f"--mtu={flannel.mtu(node)}")


def revision(node: Node) -> str:
    """Tells the environment that Docker runs with from another one; empty where it gets none from us."""
    environment = proxies(node)
    return hashlib.sha256(json.dumps(environment).encode()).hexdigest()[:12] if environment else ""


def bip(node: Node) -> str | None:
    """docker0's address according to the record; None before the first run."""
    return node.found.flannel.get("FLANNEL_SUBNET")


MARK = "0x4000/0x4000"
"""By which kube-proxy tells what it masquerades: connections from outside to a Service (pkg/proxy/iptables/proxier.go,
masqueradeBit)."""
SERVICE_NODE_PORT_RANGE = "30000-32767"
"""The apiserver's own service-node-port-range."""


def _rules(node: Node) -> list[str]:
    """What is let in to docker0 before all other rules, as ``iptables -S`` prints it.

    Docker drops from 28.2 on what comes in for docker0 and is not published, and each of its starts puts its chains
    before those of kube-proxy and flannel (moby libnetwork/iptables, EnsureJumpRule); a REJECT of the host's owner may
    stand before them, too.
    """
    flags_of_api = node.settings.apiserver_extra_args
    source = f"-s {node.settings.flannel_network}"
    link = f" -i {node.backend.link}" if node.backend.link else ""
    given = flags_of_api.get("service-node-port-range", "")
    low, _, high = (given if re.fullmatch(r"\d+-\d+", given) else SERVICE_NODE_PORT_RANGE).partition("-")
    lets_in = (
        f"{source}{link} -o docker0",
        f"-o docker0 -m mark --mark {MARK}",
        f"-o docker0 -m conntrack --ctstate DNAT --ctorigdstport {low}:{high}",
    )
    return [f"DOCKER-USER {what} -m comment --comment {COMMENT} -j ACCEPT" for what in lets_in]


def command(node: Node) -> str | None:
    """The command that the host's docker.service runs without us; None where it can't be read."""
    return command_of(node.found.docker_unit, (DOCKER_DROP_IN, node.restart.once))


def _without_us(node: Node) -> str:
    return command(node) or f"{node.found.dockerd} -H fd://"


def drop_in(node: Node) -> File:
    """Our drop-in."""
    text = render(
        f"{node.restart.init}/docker-drop-in.conf.j2",
        mounts=(node.docker_root, RECORD, KUBELET),
        subnet_env=SUBNET_ENV,
        environment=proxies(node),
        revision=revision(node),
        command=_without_us(node),
        flags=flags(node),
        set_rules=[set_rule(rule) for rule in _rules(node)],
    )
    return File(DOCKER_DROP_IN, text)


def bounced(node: Node) -> Bounced:
    """The running containers of others that a restart stops."""
    theirs = sorted(observe(DaemonsFact, node.host).main.running_others, key=lambda other: other.name)
    stay_down = [other for other in theirs if other.restart in STAY_DOWN]
    return Bounced(
        tuple(other.name for other in theirs),
        tuple(other.name for other in stay_down if not other.remove),
        tuple(other.name for other in stay_down if other.remove),
        tuple(other.name for other in theirs if other.proxied),
    )


def restart_due(node: Node) -> bool:
    """Whether an apply restarts the main Docker, as far as it is known before the run."""
    expected = bip(node)
    return (
        expected is None
        or why_restart(observe(DaemonsFact, node.host), running_flags(node), expected, revision(node)) is not None
    )


def runs_ours(node: Node) -> bool:
    """Whether the main Docker runs on the pod network now, so that a turndown restarts it."""
    return f"--bip={bip(node)}" in node.found.docker_flags


def their_flags(node: Node) -> tuple[str, ...]:
    """What the main Docker runs with now, but for flags of ours: those are the last, from --bip on."""
    words = node.found.docker_flags
    ours = max((i for i, word in enumerate(words) if word.startswith("--bip=")), default=len(words))
    return words[:ours] if runs_ours(node) or _was_ours(node) else words


def _has_drop_in(node: Node) -> bool:
    return f"# {DOCKER_DROP_IN}" in node.found.docker_unit


def _was_ours(node: Node) -> bool:
    """Whether it may run with flags of ours though the record does not tell: it was removed, or a turndown broke off
    while Docker took docker0's old address."""
    return _has_drop_in(node) or f"--bip={observe(DaemonsFact, node.host).docker0_before}" in node.found.docker_flags


def apply(node: Node) -> None:
    """Write the drop-in and restart the main Docker on the node's subnet; all its changes are here."""
    # first: from then on any start of Docker moves docker0
    docker0_recorded(name="Record docker0's address", drop_in=DOCKER_DROP_IN)
    wrote = files(name="Write docker's drop-in", wanted=[drop_in(node)])
    main_daemon(
        name="Run the main Docker on the pod network",
        node=node,
        flags=running_flags(node),
        revision=revision(node),
        rules=_rules(node),
        drop_in=DOCKER_DROP_IN,
        bounced=bounced(node),
        when=[wrote],
    )


def remove(node: Node) -> None:
    """Take the drop-in away, start Docker as it was, with docker0's old address; then images go, with purge_data."""
    no_files(name="Remove docker's drop-in", paths=(DOCKER_DROP_IN,))
    main_daemon_restored(
        name="Run the main Docker as before",
        node=node,
        command=_without_us(node),
        drop_in=DOCKER_DROP_IN,
        bounced=bounced(node),
    )
    no_rules(name="Remove our iptables rules")
    if node.settings.purge_data:
        no_images(name="Remove images")
