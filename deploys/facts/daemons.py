"""Both Docker daemons of a host: unit, command line, our containers, images. One execution."""

from __future__ import annotations

import calendar
import ipaddress
import json
import re
import time
from collections.abc import Mapping, Sequence

from pyinfra.api import FactProcessError
from typing_extensions import override

from ..record import BEFORE_DOCKER0, BOOTSTRAP, BOOTSTRAP_RUN, MAIN, SOCKETS
from .docker import (
    COMMENT,
    IMAGE_LABEL,
    LABEL,
    NAMESPACE,
    POD,
    PROGRAM,
    SYSTEM,
    ContainerState,
    Daemons,
    DaemonState,
    Other,
)
from .hiding import HIDE
from .platform import DATA_ROOT
from .sections import END, Bundle, Sections, first, json_object, number, shown, unlike, variables, whole

_CONTAINER = (
    f'{{{{if index .Config.Labels "{LABEL}"}}}}'
    '{"name":{{json .Name}},"state":{{json .State}},"labels":{{json .Config.Labels}}}'
    f'{{{{else if index .Config.Labels "{POD}"}}}}'
    f'program {{"name":{{{{json (index .Config.Labels "{PROGRAM}")}}}},"started":{{{{json .State.StartedAt}}}}}}'
    '{{else}}other {"name":{{json .Name}},"restart":{{json .HostConfig.RestartPolicy.Name}},'
    '"remove":{{json .HostConfig.AutoRemove}},"ports":{{json .NetworkSettings.Ports}},'
    '"addresses":"{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}} {{end}}",'
    '"networks":"{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"}{{end}}'
)
"""A container of ours as JSON; one of a pod, and one of somebody else's, with that word before."""

_IMAGE = "{{.Repository}}:{{.Tag}}|{{.ID}}|{{.Repository}}@{{.Digest}}"

_ROW = (
    f'{{{{.ID}}}}|{{{{.Names}}}}|{{{{if .Label "{LABEL}"}}}}ours{{{{else if .Label "{POD}"}}}}'
    f'{{{{if and (eq .State "running") (eq (.Label "{NAMESPACE}") "{SYSTEM}")}}}}program{{{{end}}}}'
    '{{else if or (eq .State "running") (eq .State "paused") (eq .State "restarting")}}other{{end}}'
)
"""A container's id, names, and why more is asked of it."""

_JUMP = "-A FORWARD -j DOCKER-USER"
"""What Docker's start makes sure of."""

# A dockerd that starts on a full disk does not know its containers of before until it starts again: it registers one
# by writing its config.v2.json anew (measured on 26.1.5). So only one that is older than the daemon can be such. One of
# another storage driver dockerd leaves out for good (moby, daemon/daemon.go).
# A host whose login is not root's, or that has no systemd, is not asked: preflight refuses it.
# Somebody else's unit may have the bootstrap daemon's name: one that does not run at our socket is not asked.
# A daemon is asked only while its unit is active and never for longer than 20 s: a docker command at a
# daemon that waits to start would hang, and one at a socket-activated daemon would start it.
# A filter takes 1.5 ms, but dash's own way to cut a text takes minutes where 100 KiB come instead of a few lines.
# Each docker command costs about 50 ms, so they are few, and both daemons are asked at the same time. A container that
# ends between two of them is not there; a daemon that ends fails the next one.
_SCRIPT = rf"""
{DATA_ROOT}
asked=; [ "$(id -u)" != 0 ] || ! command -v systemctl >/dev/null || asked=yes
one() {{ unit=$1 socket=$2
  [ -n "$asked" ] || {{ echo "== $unit unit"; echo ActiveState=inactive; return 0; }}
  s=$(systemctl show $unit -p LoadState,ActiveState,UnitFileState,NeedDaemonReload,MainPID 2>/dev/null)
  echo "== $unit unit"; echo "$s"; pid=$(echo "$s" | sed -n 's/^MainPID=//p')
  [ "${{pid:-0}}" != 0 ] || return 0
  command=$(tr '\0' '\n' < /proc/$pid/cmdline)
  echo "== $unit command"; printf '%s\n' "$command" | {HIDE}
  echo "== $unit environment"; tr '\0' '\n' < /proc/$pid/environ | grep '^DOCKER_MULTINODE'
  echo "$s" | grep -Eqx 'ActiveState=(active|reloading|refreshing)' || return 0
  [ $unit = {MAIN} ] || case $command in *"$socket"*) ;; *) return 0;; esac
  d="timeout 20 docker -H unix://$socket"
  rows=$($d ps -a --no-trunc --format '{_ROW}'); rc=$?
  echo "== $unit names"; echo "$rows"
  echo "== $unit containers"; [ $rc = 0 ] || return 0
  c=$(echo "$rows" | sed -n 's/|[^|]*|[a-z][a-z]*$//p')
  [ -z "$c" ] || $d inspect --format '{_CONTAINER}' $c || [ $? = 1 ] || return 0
  root=$(echo "$command" | data_root); pidfile=/var/run/docker.pid
  case $command in *--pidfile=*) pidfile=$(echo "$command" | sed -n 's/^--pidfile=//p');; esac
  lost=$(find "$root/containers" -mindepth 2 -maxdepth 2 -name config.v2.json \
    ! -newer "$pidfile" -exec grep -l {LABEL} {{}} + 2>/dev/null)
  if [ -n "$lost" ]; then
    driver=$($d info --format '{{{{.Driver}}}}') || return 0
    echo "== $unit forgotten"
    for f in $lost; do
      id=${{f%/*}}; case "$rows" in *"${{id##*/}}"*) continue;; esac
      ! grep -qF "\"Driver\":\"$driver\"" "$f" || sed -n 's|.*"Name":"/\([^"]*\)".*|\1|p' "$f"
    done
  fi
  echo "== $unit images"; images=$($d images -a --digests --no-trunc --format '{_IMAGE}') || return 0; echo "$images"
  case "$images" in *"<none>:<none>|"*) echo "== $unit unfinished"
    $d images -q --filter dangling=true --filter label={IMAGE_LABEL} || return 0;; esac
  echo "== $unit answered"
}}
one {BOOTSTRAP} {SOCKETS["bootstrap"]} &
main=$(one {MAIN} {SOCKETS["main"]})
wait; printf '%s\n' "$main"
echo "== started"; grep '^btime ' /proc/stat; stat -c %Y {BOOTSTRAP_RUN}.pid 2>/dev/null
echo "== filter"; iptables -w 5 -S 2>/dev/null |
  grep -e '^-P FORWARD' -e '^{_JUMP}$' -e '^-A DOCKER-USER .*--comment {COMMENT} '
echo "== docker0"; ip -4 -o addr show dev docker0 2>/dev/null
echo "== docker0 before"; {whole(BEFORE_DOCKER0)}
{END}
"""


def _seconds(moment: object) -> int:
    """Docker's 2026-11-23T01:34:29.11842667Z in seconds since 1970; 0 for anything else."""
    try:
        return calendar.timegm(time.strptime(str(moment)[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0


def _container(line: str, booted: int) -> ContainerState:
    try:
        raw = json.loads(line)
        label = (raw["labels"] or {}).get(LABEL, "")
        running = bool(raw["state"].get("Running")) and not raw["state"].get("Restarting")
        name = str(raw["name"]).lstrip("/")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FactProcessError(f"docker inspect gave {line[:80]!r} instead of a container") from error
    try:
        spec = json.loads(label)
    except (ValueError, TypeError, RecursionError):
        spec = None
    return ContainerState(name, running, spec, _since(_seconds(raw["state"].get("StartedAt")), booted))


def _since(started: int, booted: int) -> int:
    """When it really was started: a board without a clock may have been months behind when it booted. When that was,
    the kernel tells by what the clock says now (btime of /proc/stat)."""
    return max(started, booted) if started else 0


def _other(line: str) -> Other:
    found = json_object(line) or {}
    name = found.get("name")
    if not isinstance(name, str) or not name.isprintable():
        raise FactProcessError(f"docker inspect gave {shown(line)} instead of a container")
    published = _published(found.get("ports"))
    return Other(
        name.lstrip("/"),
        str(found.get("restart") or ""),
        bool(found.get("remove")),
        any(":" in ip for ip, _ in published) and ":" not in str(found.get("addresses")),
        "53/udp" in {port for _, port in published} and str(found.get("networks")).split() != ["bridge"],
    )


def _published(ports: object) -> list[tuple[str, str]]:
    """Address and port of the host, with its protocol, of what Docker says of a container:
    ``{"80/tcp": [{"HostIp": "::", "HostPort": "8080"}]}``, in which null may stand for a port that is not published."""
    found = []
    for port, bindings in ports.items() if isinstance(ports, dict) else ():
        protocol = str(port).partition("/")[2]
        rows = bindings if isinstance(bindings, list) else []
        found += [(str(b.get("HostIp")), f"{b.get('HostPort')}/{protocol}") for b in rows if isinstance(b, dict)]
    return found


def _program(line: str, booted: int) -> tuple[str, int]:
    found = json_object(line) or {}
    return str(found.get("name") or ""), _since(_seconds(found.get("started")), booted)


def _kinds(lines: list[str]) -> dict[str, list[str]]:
    """Containers by the word that stands before them: of ours there is none."""
    kinds: dict[str, list[str]] = {"": [], "program": [], "other": []}
    for line in filter(None, map(str.strip, lines)):
        kind, _, text = line.partition(" ")
        kinds[kind if kind in kinds else ""].append(text if kind in kinds else line)
    return kinds


_STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing")
_IMAGE_LINE = re.compile(r"[^|\s]+\|(sha256:)?[0-9a-f]+\|[^|\s]+")
_ID = re.compile(r"(sha256:)?[0-9a-f]+")
_ADDRESS = re.compile(r"([0-9]+[.]){3}[0-9]+/[0-9]+")
_RULE = re.compile(r"-A DOCKER-USER [\w./:!+ -]+")
_DOCKER0 = re.compile(r"\d+: docker0\s+inet (\S+) .*")


def _check(sections: Sections, unit: str, show: Mapping[str, str]) -> None:
    """Refuse what can't be the answer to what the host was asked.

    :raises FactProcessError: it is not.
    """
    if show.get("ActiveState") not in _STATES:
        raise FactProcessError(f"systemctl show {unit} gave {shown(show.get('ActiveState'))} instead of its state")
    for name, line in (("images", _IMAGE_LINE), ("unfinished", _ID)):
        said = sections.get(f"{unit} {name}", [])
        if said != [""] and (wrong := unlike(said, line)) is not None:  # it may have none
            raise FactProcessError(f"docker images gave {shown(wrong)} instead of an image")
    if f"{unit} containers" in sections and f"{unit} answered" not in sections:
        # what is not known would read as "not there"
        raise FactProcessError(f"{unit}.service is active, but docker does not answer; restart it")


def _docker0(lines: list[str], wanted: Sequence[str]) -> str:
    """docker0's address: of several the one that dockerd gives it, for others may be its owner's."""
    addresses = []
    for line in filter(None, lines):
        found = _DOCKER0.fullmatch(line)
        try:
            addresses.append(str(ipaddress.IPv4Interface(found[1] if found else "")))
        except ValueError:
            raise FactProcessError(f"ip addr gave {shown(line)} instead of docker0's address") from None
    return next((address for address in addresses if f"--bip={address}" in wanted), next(iter(addresses), ""))


def _times(lines: list[str]) -> tuple[int, int]:
    """When the kernel was booted, and the bootstrap daemon started; 0 for what is not known."""
    booted = [line.removeprefix("btime ") for line in lines if line.startswith("btime ")]
    started = [line for line in lines if not line.startswith("btime ")]
    return number("".join(booted)) or 0, number("".join(started)) or 0


def _daemon(sections: Sections, unit: str, booted: int) -> DaemonState:
    show = variables(sections.get(f"{unit} unit", []))
    _check(sections, unit, show)
    images = [line.split("|") for line in sections.get(f"{unit} images", [])]
    rows = [line.split("|") for line in sections.get(f"{unit} names", [])]
    kinds = _kinds(sections.get(f"{unit} containers", []))
    containers = {c.name: c for c in (_container(line, booted) for line in kinds[""])}
    return DaemonState(
        active=show.get("ActiveState") == "active",
        enabled=show.get("UnitFileState") == "enabled",
        needs_reload=show.get("NeedDaemonReload") == "yes",
        command=tuple(word for word in sections.get(f"{unit} command", []) if word),
        environment=variables(sections.get(f"{unit} environment", [])),
        # one that was made again by hand meanwhile is there; dockerd will never know the other
        forgotten=tuple(sorted({*sections.get(f"{unit} forgotten", ())} - containers.keys())),
        unfinished=tuple(sorted(set(sections.get(f"{unit} unfinished", [])))),
        containers=containers,
        others=frozenset(n for row in rows if len(row) == 3 for n in row[1].split(",")).difference(containers),
        running_others=tuple(map(_other, kinds["other"])),
        images={name: row[1] for row in images if len(row) == 3 for name in (row[0], row[2]) if "<none>" not in name},
        down=show.get("LoadState") == "loaded" and f"{unit} answered" not in sections,
    )


class DaemonsFact(Bundle[Daemons]):
    """Both Docker daemons, their containers of ours and their images."""

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Daemons:
        booted, started = _times(sections["started"])
        main, before = _daemon(sections, MAIN, booted), first(sections, "docker0 before")
        programs = (_program(line, booted) for line in _kinds(sections.get(f"{MAIN} containers", []))["program"])
        return Daemons(
            _daemon(sections, BOOTSTRAP, booted),
            main,
            _docker0(sections["docker0"], main.command),
            before if _ADDRESS.fullmatch(before) else "",
            tuple(line for line in sections["filter"] if _RULE.fullmatch(line)),
            _since(started, booted),
            {name: since for name, since in programs if name},
            flushed=any(line.startswith("-P FORWARD") for line in sections["filter"])
            and _JUMP not in sections["filter"],
        )
