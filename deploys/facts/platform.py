"""The machine as it is found: arch, distro, init, Docker, network. One execution."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from .sections import first, split

HIDDEN = "***@"

# Docker is only asked when its unit runs: a socket-activated one would be started by the question.
# What stands before a URL's host may be a password, and what a fact reads is printed with -vvv.
_SCRIPT = r"""
export LC_ALL=C; hide='s,(:\\?/\\?/)[^" ]*@,\1***@,g'
echo "== machine"; uname -m
echo "== kernel"; uname -r
echo "== name"; uname -n
echo "== user"; id -u
echo "== time"; date +%s
echo "== os"; cat /etc/os-release 2>/dev/null
echo "== init"
if [ -d /run/systemd/system ]; then echo systemd
elif [ -d /run/openrc ] || command -v openrc-run >/dev/null 2>&1; then echo openrc
elif command -v initctl >/dev/null 2>&1 && initctl version 2>/dev/null | grep -q upstart; then echo upstart
elif [ -d /etc/rc2.d ] && command -v update-rc.d >/dev/null 2>&1; then echo sysvinit
else echo unknown; fi
echo "== tools"
for t in ip iptables docker dockerd timeout tar base64 flock modprobe systemctl; do
  command -v $t >/dev/null 2>&1 && echo $t; done
echo "== addresses"; ip -4 -o addr show 2>/dev/null
echo "== links"; ip -o link show 2>/dev/null
echo "== routes"; ip -4 route show 2>/dev/null
echo "== active"
if [ -d /run/systemd/system ]; then
  for u in docker firewalld ufw systemd-resolved; do systemctl is-active --quiet $u && echo $u; done
fi
echo "== iptables"; iptables --version 2>/dev/null
echo "== cgroup"; stat -fc %T /sys/fs/cgroup 2>/dev/null
echo "== cgroup-controllers"
cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || awk '$4==1{print $1}' /proc/cgroups 2>/dev/null | xargs
echo "== swap"; sed 1d /proc/swaps 2>/dev/null
echo "== memory"; awk '/MemTotal/{print $2}' /proc/meminfo
echo "== listening"
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4=="0A"{n=split($2,a,":"); print a[n]}' | sort -u
echo "== propagation"
awk '$5=="/"||$5=="/var/lib/kubelet"{print $5, ($7 ~ /^shared/ ? "shared" : "private")}' /proc/self/mountinfo
echo "== daemon.json"; sed -E "$hide" /etc/docker/daemon.json 2>/dev/null | base64
echo "== docker-flags"; p=$(systemctl show docker -p MainPID --value 2>/dev/null)
[ "${p:-0}" = 0 ] || tr '\0' '\n' < /proc/$p/cmdline | sed 1d
echo "== docker-command"; command -v dockerd 2>/dev/null
echo "== record"; base64 /var/lib/docker-multinode/node.json 2>/dev/null
echo "== subnet.env"; cat /var/lib/docker-multinode/subnet.env 2>/dev/null
echo "== docker-unit"; [ ! -d /run/systemd/system ] || systemctl cat docker.service 2>/dev/null |
  sed -E "/^[[:space:]]*Environment=/$hide"
echo "== foreign-kubernetes"; [ -f /var/lib/docker-multinode/files ] || ls -d /etc/kubernetes/* 2>/dev/null
echo "== etcd-data"; [ -d /var/lib/etcd/member ] && echo yes
echo "== ca"; [ -s /etc/kubernetes/pki/etcd/ca.crt ] && echo yes
if [ ! -d /run/systemd/system ] || systemctl is-active --quiet docker; then
  echo "== docker-version"; timeout 15 docker version --format '{{json .Server}}' 2>&1
  echo "== docker-info"; timeout 15 docker info --format '{{json .}}' 2>/dev/null
  echo "== containers"
  f='{"name":{{json .Name}},"restart":{{json .HostConfig.RestartPolicy.Name}}'
  f=$f',"labels":{{json .Config.Labels}}}'
  c=$(timeout 15 docker ps -q 2>/dev/null); [ -z "$c" ] || timeout 15 docker inspect --format "$f" $c 2>/dev/null
fi
true
"""


@dataclass(frozen=True)
class Interface:
    """A network interface that carries an IPv4 address."""

    name: str
    address: str
    prefix: int
    mtu: int


@dataclass(frozen=True)
class Found:
    """What a host said of itself."""

    machine: str
    kernel: str
    name: str
    uid: int
    time: int
    os: dict[str, str]
    init: str
    tools: frozenset[str]
    interfaces: tuple[Interface, ...]
    routes: tuple[str, ...]
    """Destinations of the IPv4 routes with their interface, like ``10.0.0.0/8 eth0``."""
    default_interface: str
    active: frozenset[str]
    iptables: str
    cgroup_v2: bool
    controllers: frozenset[str]
    swap: bool
    memory_kib: int
    listening: frozenset[int]
    propagation: dict[str, str]
    daemon_json: dict[str, Any] | None
    """None where the file is not JSON; {} where there is none. URLs' passwords are hidden: HIDDEN stands there."""
    dockerd: str
    docker_flags: tuple[str, ...]
    """What the main Docker runs with now."""
    record: dict[str, Any]
    subnet_env: str
    docker_unit: tuple[str, ...]
    """Text of docker.service with its drop-ins, as ``systemctl cat`` prints them."""
    foreign_kubernetes: tuple[str, ...]
    """What lies in /etc/kubernetes where we have never been."""
    etcd_data: bool
    etcd_ca: bool
    docker_version: str
    docker_api: str
    """Newest API version that Docker speaks."""
    docker_min_api: str
    """Oldest API version that Docker speaks."""
    docker_info: dict[str, Any]
    containers: tuple[dict[str, Any], ...]
    """Running containers of the main daemon: name, restart, labels."""

    def interface(self, name: str) -> Interface | None:
        """The interface of that name, if it has an address."""
        return next((i for i in self.interfaces if i.name == name), None)


def _json(text: str, default: Any) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return default
    return found if isinstance(found, type(default)) else default


def _file(sections: dict[str, list[str]], name: str) -> str:
    try:
        return base64.b64decode("".join(sections.get(name, []))).decode(errors="replace")
    except ValueError:
        return ""


def _os_release(lines: list[str]) -> dict[str, str]:
    result = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if equals:
            try:
                result[key.strip()] = " ".join(shlex.split(value))
            except ValueError:
                result[key.strip()] = value
    return result


def _interfaces(sections: dict[str, list[str]]) -> tuple[Interface, ...]:
    mtus = {}
    for line in sections.get("links", []):
        words = line.split()
        if "mtu" in words[:-1] and len(words) > 1:
            value = words[words.index("mtu") + 1]
            mtus[words[1].rstrip(":").split("@")[0]] = int(value) if value.isdigit() else 1500
    found = []
    for line in sections.get("addresses", []):
        words = line.split()
        if "inet" in words[:-1] and len(words) > 1:
            address, _, prefix = words[words.index("inet") + 1].partition("/")
            name = words[1].split("@")[0]
            found.append(Interface(name, address, _number(prefix or "32"), mtus.get(name, 1500)))
    return tuple(found)


def _routes(lines: list[str]) -> tuple[tuple[str, ...], str]:
    routes, default = [], ""
    for line in lines:
        words = line.split()
        device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""
        if words and words[0] == "default":
            default = default or device
        elif words and device:
            routes.append(f"{words[0]} {device}")
    return tuple(routes), default


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


class Platform(FactBase[Found]):
    """The machine as it is found; nothing of it depends on what a run does."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(_SCRIPT.strip())

    @staticmethod
    @override
    def default() -> Found:  # no output at all: nothing is known
        return Platform().process([])

    @override
    def process(self, output: list[str]) -> Found:
        sections = split(output)
        routes, default = _routes(sections.get("routes", []))
        version = _json(first(sections, "docker-version"), {})
        daemon_json = _file(sections, "daemon.json").strip()
        listening = [s for s in sections.get("listening", []) if len(s) == 4]
        return Found(
            machine=first(sections, "machine"),
            kernel=first(sections, "kernel"),
            name=first(sections, "name"),
            uid=_number(first(sections, "user") or "1"),
            time=_number(first(sections, "time")),
            os=_os_release(sections.get("os", [])),
            init=first(sections, "init") or "unknown",
            tools=frozenset(sections.get("tools", [])),
            interfaces=_interfaces(sections),
            routes=routes,
            default_interface=default,
            active=frozenset(sections.get("active", [])),
            iptables=first(sections, "iptables"),
            cgroup_v2=first(sections, "cgroup") == "cgroup2fs",
            controllers=frozenset(" ".join(sections.get("cgroup-controllers", [])).split()),
            swap=bool(sections.get("swap")),
            memory_kib=_number(first(sections, "memory")),
            listening=frozenset(int(p, 16) for p in listening if all(c in "0123456789ABCDEF" for c in p)),
            propagation={w[0]: w[1] for line in sections.get("propagation", []) if len(w := line.split()) == 2},
            daemon_json=_daemon_json(daemon_json),
            docker_flags=tuple(sections.get("docker-flags", [])),
            dockerd=first(sections, "docker-command"),
            record=_json(_file(sections, "record"), {}),
            subnet_env="\n".join(sections.get("subnet.env", [])),
            docker_unit=tuple(sections.get("docker-unit", [])),
            foreign_kubernetes=tuple(sections.get("foreign-kubernetes", [])),
            etcd_data=first(sections, "etcd-data") == "yes",
            etcd_ca=first(sections, "ca") == "yes",
            docker_version=str(version.get("Version", "")),
            docker_api=str(version.get("ApiVersion", "")),
            docker_min_api=str(version.get("MinAPIVersion", "")),
            docker_info=_json(first(sections, "docker-info"), {}),
            containers=tuple(c for line in sections.get("containers", []) if (c := _json(line, {}))),
        )


def _daemon_json(text: str) -> dict[str, Any] | None:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
