"""What only a turndown needs to know: paths, links, chains and pods of ours. One execution."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from pyinfra.api import FactProcessError
from typing_extensions import override

from ..record import (
    BACKUPS,
    BOOTSTRAP_DATA,
    BOOTSTRAP_RUN,
    BOOTSTRAP_SOCKET,
    ETCD_DATA,
    FLANNEL_RUN,
    KUBELET,
    RECORD,
    SUBNET_ENV,
)
from .sections import END, Bundle, Sections, shown

PATHS = (BOOTSTRAP_DATA, BOOTSTRAP_RUN, BOOTSTRAP_SOCKET, f"{BOOTSTRAP_RUN}.pid", ETCD_DATA, FLANNEL_RUN,
         KUBELET, RECORD, "/var/lib/cri-dockerd", "/run/cri-dockerd.sock", "/var/log/pods",
         "/var/log/containers")  # fmt: skip

# iptables-save without a table: asked for one that is not there, the legacy variant would make it;
# an empty mount point is as good as gone
_SCRIPT = rf"""
echo "== paths"; for p in {" ".join(PATHS)}; do [ -e $p ] || continue
  if [ -d $p ] && mountpoint -q $p && [ -z "$(ls -A $p)" ]; then continue; fi; echo $p; done
echo "== links"; ip -o link show | awk -F': ' '{{print $2}}' | cut -d@ -f1
echo "== chains"; for c in iptables ip6tables; do
  $c-save 2>/dev/null | awk '/^\*/{{t=substr($1,2)}} /^:/{{print t, substr($1,2)}}'; done | sort -u
echo "== rules"; s=$(sed -n 's/^FLANNEL_SUBNET=//p' {SUBNET_ENV} 2>/dev/null | sed 's/[.]1[/]/.0\//')
iptables-save 2>/dev/null | awk -v s="$s" '/^\*/{{t=substr($1,2)}} /--comment docker-multinode/{{print t, $0}}
  s != "" && /^-A POSTROUTING/ && index($0, "-s " s " ") && / -j MASQUERADE/{{print t, $0}}'
echo "== backups"; find {BACKUPS} -type f -printf '%p\n' 2>/dev/null | sort
echo "== pods"
! systemctl is-active --quiet docker ||
  timeout 20 docker ps -a --filter label=io.kubernetes.docker.type --format '{{{{.Names}}}}'
{END}
"""


_LINES = {
    "paths": re.compile(r"/\S+"),
    "chains": re.compile(r"[a-z0-9_-]+ \S+"),
    "rules": re.compile(r"[a-z0-9_-]+ -A \S+ .*"),
    "pods": re.compile(r"[a-zA-Z0-9_.-]+"),
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


class Leftovers(Bundle[Left]):
    """Paths, links, iptables chains and pods that we or our containers made."""

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Left:
        for name, line in _LINES.items():
            if wrong := next((text for text in sections[name] if not line.fullmatch(text)), None):
                raise FactProcessError(f"the host says {shown(wrong)} of its {name}")
        for rule in sections["rules"]:
            try:
                shlex.split(rule)
            except ValueError:
                raise FactProcessError(f"the host says {shown(rule)} of its rules") from None
        return Left(
            frozenset(sections["paths"]),
            frozenset(sections["links"]),
            tuple(sections["chains"]),
            tuple(sections["rules"]),
            tuple(sections["pods"]),
            tuple(sections["backups"]),
        )
