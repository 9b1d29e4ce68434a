"""The machine as it is found: arch, init, Docker, network, disks. One execution."""

from __future__ import annotations

import base64

from typing_extensions import override

from ..backends import VXLAN_LINK
from ..busy import SETTLED
from ..record import (
    BEFORE_PATHS,
    BOOTSTRAP_DATA,
    BOOTSTRAP_UNIT,
    DATA,
    ETCD_DATA,
    FILES,
    KUBELET,
    KUBERNETES,
    NODE,
    PKI,
    RECORD,
    SHARED_PLACES,
    SUBNET_ENV,
)
from .found import RESOLV_CONF, RESOLVED, Disk, Found, Interface
from .hiding import HIDE, NO_ENVIRONMENT
from .kernel import MODULES
from .plausible import ADDRESS, unreadable
from .sections import END, Bundle, Sections, first, json_object, number, whole

TOOLS = (
    "ip",
    "iptables",
    "docker",
    "timeout",
    "tar",
    "gzip",
    "base64",
    "flock",
    "modprobe",
    "sysctl",
    "awk",
    "find",
    "xargs",
)
"""The commands that a run uses of a host and that a small image may leave out."""


DATA_ROOT = r"""data_root() { r= c=; while IFS= read -r w || [ -n "$w" ]; do case $w in
    --data-root=*) r=${w#*=} ;; --data-root) IFS= read -r r ;;
    --config-file=*) c=${w#*=} ;; --config-file) IFS= read -r c ;; esac; done
  [ -n "$r" ] || r=$(cat "${c:-/etc/docker/daemon.json}" 2>/dev/null | tr '\n\t\r' '   ' |
    sed -n -e 's/.*"data-root" *: *"\([^"]*\)".*/\1/;tr' -e 'd;:r' -e 's,\\/,/,g;p')
  r=${r:-/var/lib/docker}; readlink -f "$r" || echo "$r"; }"""
"""Shell function: where a dockerd keeps its data, by its command line, a word a line on standard input; without links,
where its parent is there. `docker info` tells it too, but daemon and client start other programs for that."""

_UNITS = "docker firewalld systemd-resolved"
_UNIT = (
    f'BEGIN {{split("{_UNITS}", name, " ")}} '
    '{state = pid = ""; for (i = 1; i <= NF; i++) {'
    'if (sub(/^ActiveState=/, "", $i)) state = $i; if (sub(/^MainPID=/, "", $i)) pid = $i} '
    "print name[NR], state, pid}"
)
"""What systemctl shows of a unit, on one line: name, state, pid; a unit may have another name than that by which it
was asked for. One call asks of all: each takes 20 ms."""

_PLACES = (*SHARED_PLACES, ETCD_DATA, BOOTSTRAP_DATA, f"/sys/class/net/{VXLAN_LINK}")
"""What may be there before us, with a name that is not ours alone, or as a link or a disk."""

_DISK = (
    '$1 == "device" {device[$2] = $3} $1 == "blocks" {blocks[$2] = $3} $1 == "place" && blocks[$2] {'
    'split(blocks[$2], n, " "); printf "%s %.0f %.0f %s %s %s\\n", device[$2], n[1] * n[2] / 1024, n[1] * n[3] / 1024, '
    "n[4], n[5], $3}"
)
"""A line a place: its device, KiB in all and free, inodes in all and free, its path. One stat asks of all places."""

# Docker is only asked when its unit runs: a socket-activated one would be started by the question.
# What an ended run has left at work may be restarting Docker.
# A turndown keeps the authorities, and the record says so. A node whose node.json was removed, since it was damaged,
# still has the bootstrap daemon's unit in its record.
_SCRIPT = rf"""
{SETTLED}
export LC_ALL=C
echo "== quoting"; printf '%s\n' '\\'
echo "== machine"; uname -m
echo "== kernel"; uname -r
echo "== name"; uname -n
echo "== machine-id"; {whole("/etc/machine-id")}
echo "== boot-id"; read -r b < /proc/sys/kernel/random/boot_id; echo "$b"
echo "== user"; id -u
echo "== time"; date +%s
echo "== init"
if [ -d /run/systemd/system ]; then echo systemd
elif [ -d /run/openrc ] || command -v openrc-run >/dev/null 2>&1; then echo openrc
elif command -v initctl >/dev/null 2>&1 && initctl version 2>/dev/null | grep -q upstart; then echo upstart
elif [ -d /etc/rc2.d ] && command -v update-rc.d >/dev/null 2>&1; then echo sysvinit
else echo unknown; fi
echo "== tools"
for t in {" ".join(TOOLS)}; do command -v $t >/dev/null 2>&1 && echo $t; done
echo "== addresses"; ip -4 -o addr show 2>/dev/null
echo "== links"; ip -o link show 2>/dev/null
echo "== routes"; ip -4 route show 2>/dev/null
units=; [ ! -d /run/systemd/system ] ||
  units=$(systemctl show {_UNITS} -p ActiveState,MainPID 2>/dev/null | awk -v RS= '{_UNIT}')
active=$(echo "$units" | sed -n 's/ \(active\|reloading\|refreshing\) .*//p')
echo "== active"; echo "$active"
active() {{ for u in $active; do [ "$u" != "$1" ] || return 0; done; return 1; }}
echo "== resolvers"; f={RESOLV_CONF}; ! active systemd-resolved || f={RESOLVED}
[ ! -f {RESOLV_CONF} ] || {{ echo there; awk '$1=="nameserver"{{print $2}}' $f 2>/dev/null; }}
echo "== resolv.conf"; readlink -f $f 2>/dev/null
echo "== search"; ! grep -qE '^[[:space:]]*(search|domain|options)[[:space:]]' $f 2>/dev/null || echo yes
echo "== ufw"; ! grep -qi '^ENABLED=yes' /etc/ufw/ufw.conf 2>/dev/null || {{
  sed -n 's/^DEFAULT_INPUT_POLICY="*\([A-Z]*\).*/policy \1/p' /etc/default/ufw
  grep -- '^-A ufw-user-input .*-j ACCEPT\( -m comment .*\)*$' /etc/ufw/user.rules; }} 2>/dev/null
echo "== missing-modules"; set -- /lib/modules/*/
[ ! -d "$1" ] || {{ for m in {" ".join(map("@".join, MODULES.items()))}; do
  [ -e ${{m#*@}} ] || modprobe -nq ${{m%@*}} 2>/dev/null || echo ${{m%@*}}; done
  [ -d /lib/modules/$(uname -r) ] || echo "== modules-gone"; }}
echo "== iptables"; iptables --version 2>/dev/null
echo "== cgroup-controllers"
cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || awk '$4==1{{print $1}}' /proc/cgroups 2>/dev/null | xargs
echo "== memory"; awk '/MemTotal/{{print $2}}' /proc/meminfo
echo "== listening"
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4=="0A"{{n=split($2,a,":"); print a[n]}}' | sort -u
echo "== propagation"
awk '$5=="/"||$5=="{KUBELET}"{{print $5, ($7 ~ /^shared/ ? "shared" : "private")}}' /proc/self/mountinfo
echo "== daemon.json"; {HIDE} /etc/docker/daemon.json 2>/dev/null | base64
p=$(echo "$units" | sed -n 's/^docker [a-z]* //p')
flags=; [ "${{p:-0}}" = 0 ] || flags=$(tr '\0' '\n' < /proc/$p/cmdline | sed 1d)
echo "== docker-flags"; [ -z "$flags" ] || echo "$flags" | {HIDE}
{DATA_ROOT}
root=$(echo "$flags" | data_root)
echo "== docker-root"; echo "$root"
echo "== swarm"; [ ! -s "$root/swarm/docker-state.json" ] || echo yes
echo "== docker-command"; ! d=$(command -v dockerd 2>/dev/null) || echo "$(readlink -f "${{d%/*}}")/${{d##*/}}"
echo "== record"; base64 {NODE} 2>/dev/null
echo "== data-record"; base64 {DATA} 2>/dev/null
echo "== subnet.env"; {whole(SUBNET_ENV)}
echo "== docker-unit"; [ ! -d /run/systemd/system ] || systemctl cat docker.service 2>/dev/null |
  {NO_ENVIRONMENT} | {HIDE}
echo "== foreign-kubernetes"
[ -e {NODE} ] || grep -qsxF {BOOTSTRAP_UNIT} {FILES} || {{ find {KUBERNETES} -xdev ! -type d
  find {KUBELET} -xdev -mindepth 1 -maxdepth 1 ! -type d; }} 2>/dev/null |
  grep -vxF -e "$(cat {FILES} 2>/dev/null)" | sort | head -n 5
echo "== there-before"
[ -e {BEFORE_PATHS} ] || [ -e {NODE} ] || for p in {" ".join(_PLACES)}; do
  c=$(find -H $p -mindepth 1 -maxdepth 1 2>/dev/null | grep -v ^/sys/ | sort)
  [ ! -e $p ] || {{ mountpoint -q $p && [ -z "$c" ]; }} || echo $p; [ -z "$c" ] || echo "$c"; done
echo "== etcd-data"; [ -d {ETCD_DATA}/member ] && echo yes
echo "== ca"; [ -s {PKI}/etcd/ca.crt ] && echo yes
if [ ! -d /run/systemd/system ] || active docker; then
  echo "== docker-version"; timeout 15 docker version --format '{{{{json .Server}}}}' 2>&1
fi
echo "== disks"
set --; places=
for p in {ETCD_DATA} {BOOTSTRAP_DATA} "$root" {RECORD} {KUBELET}; do
  q=$p; until [ -e "$q" ]; do q=${{q%/*}}; q=${{q:-/}}; done; set -- "$@" "$q"; places="$places$q|$p
"; done
{{ stat -L -c 'device|%n|%d' "$@"; timeout 5 stat -f -c 'blocks|%n|%S %b %a %c %d' "$@"
  echo "$places" | sed -n 's/./place|&/p'; }} 2>/dev/null | awk -F'|' '{_DISK}'
"""


def _file(sections: Sections, name: str) -> str:
    try:
        return base64.b64decode("".join(sections.get(name, []))).decode(errors="replace")
    except ValueError:
        return ""


def _interfaces(sections: Sections) -> tuple[Interface, ...]:
    mtus = {}
    for line in sections["links"]:
        words = line.split()
        if "mtu" in words[:-1] and len(words) > 1:
            mtus[words[1].rstrip(":").split("@")[0]] = number(words[words.index("mtu") + 1]) or 1500
    found = []
    for line in sections["addresses"]:
        if match := ADDRESS.fullmatch(line):
            name = match[1].split("@")[0]
            found.append(Interface(name, match[2], int(match[3] or 32), mtus.get(name, 1500)))
    return tuple(found)


def _hardware(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        words = line.split()
        if "link/ether" in words[1:-1]:
            found[words[1].rstrip(":").split("@")[0]] = words[words.index("link/ether") + 1]
    return found


def _disks(lines: list[str]) -> dict[str, Disk]:
    found = {}
    for line in lines:
        words = line.split(" ", 5)
        if len(words) == 6 and all(w.isascii() and w.isdigit() for w in words[:3]):
            device, size, free, inodes, left, path = words
            counted = (number(left) or 0) if number(inodes) else None
            found[path] = Disk(device, (number(size) or 0) // 1024, (number(free) or 0) // 1024, counted)
    return found


def _routes(lines: list[str]) -> tuple[tuple[str, ...], str]:
    routes, default, to = [], "", ""
    for line in lines:
        words = line.split()
        device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""
        if words and words[0] != "nexthop":  # which stand below the line that says where to
            to = words[0]
        if to == "default":
            default = default or device
        elif to and device:
            routes.append(f"{to} {device}")
    return tuple(routes), default


class Platform(Bundle[Found]):
    """The machine as a run finds it, with the settings of its Docker and what the record says of it."""

    script = f"{_SCRIPT.strip()}\n{END}"

    @override
    def read(self, sections: Sections) -> Found:
        routes, default = _routes(sections["routes"])
        # docker may say something on its standard error before
        said = next((v for line in sections.get("docker-version", []) if (v := json_object(line))), {})
        version = {key.lower(): value for key, value in said.items()}  # 29.0.0 alone says APIVersion
        daemon_json = _file(sections, "daemon.json").strip()
        listening = [s for s in sections["listening"] if len(s) == 4]
        return Found(
            quotes_hold=first(sections, "quoting") == "\\\\",
            machine=first(sections, "machine"),
            kernel=first(sections, "kernel"),
            name=first(sections, "name"),
            machine_id=first(sections, "machine-id"),
            boot_id=first(sections, "boot-id"),
            uid=-1 if (uid := number(first(sections, "user"))) is None else uid,
            time=number(first(sections, "time")) or 0,
            init=first(sections, "init") or "unknown",
            tools=frozenset(sections["tools"]),
            interfaces=_interfaces(sections),
            hardware=_hardware(sections["links"]),
            routes=routes,
            default_interface=default,
            active=frozenset(sections["active"]),
            resolvers=tuple(sections["resolvers"][1:]) if sections["resolvers"] else None,
            resolv_conf=first(sections, "resolv.conf") or RESOLV_CONF,
            searches=first(sections, "search") == "yes",
            ufw=tuple(sections["ufw"]),
            missing_modules=frozenset(sections["missing-modules"]),
            iptables=first(sections, "iptables"),
            controllers=frozenset(" ".join(sections["cgroup-controllers"]).split()),
            memory_kib=number(first(sections, "memory")) or 0,
            disks=_disks(sections["disks"]),
            listening=frozenset(int(p, 16) for p in listening if all(c in "0123456789ABCDEF" for c in p)),
            propagation={w[0]: w[1] for line in sections["propagation"] if len(w := line.split()) == 2},
            daemon_json=json_object(daemon_json) if daemon_json else {},
            docker_flags=tuple(sections["docker-flags"]),
            dockerd=first(sections, "docker-command"),
            record=json_object(_file(sections, "record")) or {},
            data=json_object(_file(sections, "data-record")) or {},
            subnet_env="\n".join(sections["subnet.env"]),
            docker_unit=tuple(sections["docker-unit"]),
            foreign_kubernetes=tuple(sections["foreign-kubernetes"]),
            there_before=tuple(sections["there-before"]),
            etcd_data=first(sections, "etcd-data") == "yes",
            etcd_ca=first(sections, "ca") == "yes",
            docker_version=str(version.get("version", "")),
            docker_arch=str(version.get("arch", "")),
            docker_api=str(version.get("apiversion", "")),
            docker_min_api=str(version.get("minapiversion", "")),
            docker_root=first(sections, "docker-root"),
            swarm=first(sections, "swarm") == "yes",
            unreadable=tuple(unreadable(sections)),
            modules_gone="modules-gone" in sections,
            waited="waited" in sections,
        )
