"""What a turndown needs to know, and in part a restore: paths, links, chains and pods of ours. One execution."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactProcessError
from typing_extensions import override

from ..record import (
    BACKUPS,
    BEFORE,
    BEFORE_DOCKER0,
    BEFORE_PATHS,
    BOOTSTRAP_DATA,
    BOOTSTRAP_RUN,
    BOOTSTRAP_SOCKET,
    ETCD_DATA,
    FILES,
    NODE,
    PKI,
    RECORD,
    SHARED_PLACES,
    SUBNET_ENV,
)
from .docker import COMMENT, LABEL, POD
from .sections import END, Bundle, Sections, shown, unlike

NODE_PATHS = (BOOTSTRAP_DATA, BOOTSTRAP_RUN, BOOTSTRAP_SOCKET, f"{BOOTSTRAP_RUN}.pid", *SHARED_PLACES)

_IMAGE_AND_NAME = (
    "{{.Image}} {{.Name}}"
    f'{{{{range $k, $v := .Config.Labels}}}}{{{{if eq $k "{LABEL}" "{POD}"}}}} ours{{{{end}}}}{{{{end}}}}'
)

_SUBNETS_AND_NAME = "{{range .IPAM.Config}}{{.Subnet}} {{end}}|{{.Name}}"
"""A name may have spaces."""

BELOW = r"""below() { R=$1 awk '{gsub(/\\040/, " ", $5); gsub(/\\011/, "\t", $5); gsub(/\\134/, "\\", $5)}
  $5==ENVIRON["R"] || index($5, ENVIRON["R"] "/")==1 {print $5}' /proc/self/mountinfo; }"""
"""Shell function: the mount points at a path and below it. No link may be in the path: the kernel knows none."""

# Names say little about whose a thing is, so nothing is ours without the record. iptables-save without a table: asked
# for one that is not there, the legacy variant would make it; a mount point, and a directory that was there before us,
# are as good as gone when nothing else is in them. A link that came later goes alone, without what it leads to
_SCRIPT = rf"""
node=; [ ! -e {NODE} ] || node=yes
paths=; [ ! -e {FILES} ] && [ ! -e {BEFORE} ] || paths={RECORD}
[ -z "$node" ] || paths="$paths {" ".join(NODE_PATHS)}"
! grep -qsx {PKI}/etcd/ca.key {FILES} || paths="$paths {ETCD_DATA}"
before=$(cat {BEFORE_PATHS} 2>/dev/null)
old() {{ printf '%s\n' "$before" | grep -qxF "$1"; }}
stays() {{ mountpoint -q $1 || old $1; }}
{BELOW}
others() {{ find -H $1 -mindepth 1 -maxdepth 1 | grep -vxF -e "$before"; }}
echo "== paths"; for p in $paths; do [ -e $p ] || continue
  if stays $p && [ -z "$(others $p)" ]; then continue; fi; echo $p; done
echo "== mounts"; for p in $paths; do [ ! -L $p ] || stays $p || continue; r=$(readlink -e $p) || continue
  below "$r" | while IFS= read -r m; do [ "$m" = "$r" ] || printf '%s\n' "$p${{m#"$r"}}"; done; done | sort -u
echo "== links"; [ -z "$node" ] || ip -o link show | awk -F': ' '{{print $2}}' | cut -d@ -f1 |
  while read -r l; do old /sys/class/net/$l || echo $l; done
n=$(sed -n 's/^FLANNEL_NETWORK=//p' {SUBNET_ENV} 2>/dev/null)
echo "== routes"; [ -z "$node" ] || [ -z "$n" ] || ip -4 route show root "$n" | grep ' via ' |
  grep -v ' dev flannel[.]1 ' | sed 's/ *$//'
echo "== chains"; [ -z "$node" ] || for c in iptables ip6tables; do
  $c-save 2>/dev/null | awk '/^\*/{{t=substr($1,2)}} /^:/{{print t, substr($1,2)}}'; done | sort -u
echo "== rules"; s=$(sed -n 's/^FLANNEL_SUBNET=//p' {SUBNET_ENV} 2>/dev/null | sed 's/[.]1[/]/.0\//')
iptables-save 2>/dev/null | awk -v s="$s" '/^\*/{{t=substr($1,2)}} /--comment {COMMENT}/{{print t, $0}}
  s != "" && $0 == "-A POSTROUTING -s " s " ! -o docker0 -j MASQUERADE"{{print t, $0}}'
echo "== backups"; mountpoint -q {BACKUPS} || find -H {BACKUPS} -xdev -type f -printf '%p\n' 2>/dev/null | sort
echo "== pods"; a=; ! systemctl is-active --quiet docker || a=yes
[ -z "$a" ] || [ -z "$node" ] || timeout 20 docker ps -a --filter label={POD} --format '{{{{.Names}}}}'
echo "== cgroups"; [ -z "$node" ] || find /sys/fs/cgroup -maxdepth 2 -type d -name 'kubepods*' 2>/dev/null | sort
echo "== used"; [ -z "$a" ] || timeout 20 docker ps -aq |
  xargs -r timeout 20 docker inspect --format '{_IMAGE_AND_NAME}'
echo "== networks"; [ -z "$a" ] || [ ! -e {BEFORE_DOCKER0} ] || timeout 20 docker network ls -q |
  xargs -r timeout 20 docker network inspect --format '{_SUBNETS_AND_NAME}' | grep -v '|bridge$'
{END}
"""


_LINES = {
    "paths": re.compile(r"/\S+"),
    "chains": re.compile(r"[a-z0-9_-]+ \S+"),
    "rules": re.compile(r"[a-z0-9_-]+ -A \S+ .*"),
    "backups": re.compile(r"/.*"),
    "pods": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"),
    "cgroups": re.compile(r"/sys/fs/cgroup/([\w,.-]+/)?kubepods[\w.-]*"),
    "routes": re.compile(r"[0-9./]+ via [0-9.]+ dev [\w. -]+"),
    "mounts": re.compile(r"/.*"),
    "used": re.compile(r"sha256:[0-9a-f]+ /\S+( ours)*"),
    "networks": re.compile(r"([0-9a-f.:/]+ )*[|].+"),
}
"""What a line of a part looks like."""


@dataclass(frozen=True)
class Left:
    """What is there of us besides files and our own containers."""

    paths: frozenset[str]
    links: frozenset[str]
    chains: tuple[str, ...]
    """``table chain``"""
    rules: tuple[str, ...]
    """``table -A chain …``: rules with our comment, and Docker's for the node's subnet."""
    pods: tuple[str, ...]
    """Names of the containers that the kubelet made."""
    backups: tuple[str, ...] = ()
    """Paths of the archives that deploys/backup.py made, or was sent."""
    mounts: tuple[str, ...] = ()
    """Mount points below the paths; below a link by their names there, not by where it leads."""
    routes: tuple[str, ...] = ()
    """Routes into the pod network by another node: ``10.1.2.0/24 via 192.168.1.12 dev eth0``; not by flannel's link."""
    cgroups: tuple[str, ...] = ()
    """Directories of the control groups of all pods."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Subnet → name of the network of the main Docker that has it, but for docker0's; while docker0 is moved."""
    used: Mapping[str, str] = field(default_factory=dict)
    """Image id → name of a container of somebody else's that was made from it, running or not."""


class Leftovers(Bundle[Left]):
    """Paths, links, iptables chains and pods that we or our containers made.

    Where the record does not say that the host is a node, nothing is; but for the record, and etcd's data beside the
    key of its authority, which outlive a turndown.
    """

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Left:
        for name, line in _LINES.items():
            if (wrong := unlike(sections.get(name, []), line)) is not None:
                raise FactProcessError(f"the host says {shown(wrong)} of its {name}")
        for rule in sections["rules"]:
            try:
                shlex.split(rule)
            except ValueError:
                raise FactProcessError(f"the host says {shown(rule)} of its rules") from None
        networks = (line.partition("|") for line in sections["networks"])
        used = (line.split() for line in sections["used"])
        return Left(
            frozenset(sections["paths"]),
            frozenset(sections["links"]),
            tuple(sections["chains"]),
            tuple(sections["rules"]),
            tuple(sections["pods"]),
            tuple(sections["backups"]),
            tuple(sections["mounts"]),
            tuple(sections["routes"]),
            tuple(sections["cgroups"]),
            {subnet: name for subnets, _, name in networks for subnet in subnets.split()},
            {image: name.lstrip("/") for image, name, *ours in used if not ours},
        )
