"""What the main Docker's daemon is run with: by its owner, and by us."""

from __future__ import annotations

from collections.abc import Collection

from packaging.version import InvalidVersion, Version

from .facts.daemons import DaemonsFact
from .observe import observe
from .record import DOCKER_DROP_IN
from .topology import Node

NO_USERLAND_PROXY = "--userland-proxy=false"

GIVEN_WAY: dict[str, tuple[str, ...]] = {
    # makes Docker switch on hairpin for each container: a pod reaches itself through its Service
    "userland-proxy": (NO_USERLAND_PROXY,),
    # cri-dockerd can't rotate the logs of pods
    "log-opts": ("--log-opt=max-size=10m", "--log-opt=max-file=3"),
}
"""Key in daemon.json → flags of ours that are not given where it is there: dockerd refuses to be told twice."""

LETS_ROUTED_IN = "--allow-direct-routing"
"""Our drop-in asks dockerd at each start whether it knows this one: so a newer or an older Docker that a package brings
starts as it must without a run."""


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
    """Lines as systemd reads them: one that ends in a backslash goes on in the next, comments in between are passed
    over, and none of those goes on (systemd.syntax(7))."""
    lines: list[str] = []
    goes_on = False
    for line in unit:
        text = line.rstrip().removesuffix("\\").strip()
        if text.startswith(("#", ";")):
            lines += [] if goes_on else [text]
            continue
        if goes_on:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
        goes_on = line.rstrip().endswith("\\")
    return lines


def flags(node: Node) -> tuple[str, ...]:
    """Flags of constant text that the main Docker gets, besides bip and mtu."""
    theirs = node.found.daemon_json or {}
    ours = (flag for key, words in GIVEN_WAY.items() if key not in theirs for flag in words)
    return (f"--ip-masq={str(not node.settings.flannel_ipmasq).lower()}", *ours)


def asked_for(node: Node) -> tuple[str, ...]:
    """Flags that it gets where this Docker knows them and daemon.json does not say the same."""
    told = LETS_ROUTED_IN.removeprefix("--") in (node.found.daemon_json or {})
    return (LETS_ROUTED_IN,) if drops_routed(node) and not told else ()


def bip(node: Node) -> str | None:
    """docker0's address according to the record; None before the first run."""
    return node.found.flannel.get("FLANNEL_SUBNET")


def command(node: Node) -> str | None:
    """The command that the host's docker.service runs without us; None where it can't be read."""
    return command_of(node.found.docker_unit, (DOCKER_DROP_IN, node.restart.once))


def without_us(node: Node) -> str:
    """That command; where it can't be read, how every docker.service starts."""
    return command(node) or f"{node.found.dockerd} -H fd://"


def program(node: Node) -> str:
    """The dockerd that the unit runs, without systemd's prefixes."""
    return _program(without_us(node).split())


def _program(words: list[str]) -> str:
    return words[0].lstrip("@-:+!|")


def _has_drop_in(node: Node) -> bool:
    return f"# {DOCKER_DROP_IN}" in node.found.docker_unit


def _words(node: Node) -> list[str]:
    """Of the command that our drop-in runs; none where it is not there."""
    return (command_of(node.found.docker_unit, ()) or "").split() if _has_drop_in(node) else []


def told_twice(node: Node) -> list[str]:
    """Keys of daemon.json that came after our drop-in, which still has their flags: dockerd does not start so."""
    theirs, words = node.found.daemon_json or {}, _words(node)
    return [key for key, ours in GIVEN_WAY.items() if key in theirs and ours[0] in words]


def names_another_dockerd(node: Node) -> str | None:
    """The dockerd that our drop-in runs, where the host has another one by now."""
    words = _words(node)
    return name if words and (name := _program(words)) != node.found.dockerd else None


def _runs_ours(node: Node) -> bool:
    """Whether the main Docker ran on the pod network when it was asked what machine this is."""
    return f"--bip={bip(node)}" in node.found.docker_flags


def their_flags(node: Node) -> tuple[str, ...]:
    """What the main Docker runs with now, but for flags of ours: those are the last, from --bip on."""
    words = node.found.docker_flags
    ours = max((i for i, word in enumerate(words) if word.startswith("--bip=")), default=len(words))
    return words[:ours] if _runs_ours(node) or _was_ours(node) else words


def _was_ours(node: Node) -> bool:
    """Whether it may run with flags of ours though the record does not tell: it was removed, or a turndown broke off
    while Docker took docker0's old address."""
    return _has_drop_in(node) or f"--bip={observe(DaemonsFact, node.host).docker0_before}" in node.found.docker_flags
