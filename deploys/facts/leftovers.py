"""What only a turndown needs to know: paths, links, chains and pods of ours. One execution."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from ..record import BOOTSTRAP_DATA, BOOTSTRAP_RUN, BOOTSTRAP_SOCKET, ETCD_DATA, FLANNEL_RUN, KUBELET, RECORD
from .sections import split

PATHS = (BOOTSTRAP_DATA, BOOTSTRAP_RUN, BOOTSTRAP_SOCKET, f"{BOOTSTRAP_RUN}.pid", ETCD_DATA, FLANNEL_RUN,
         KUBELET, RECORD, "/var/lib/cri-dockerd", "/run/cri-dockerd.sock", "/var/log/pods",
         "/var/log/containers", "/etc/kubernetes")  # fmt: skip

# an empty mount point is as good as gone
_SCRIPT = rf"""
echo "== paths"; for p in {" ".join(PATHS)}; do [ -e $p ] || continue
  if [ -d $p ] && mountpoint -q $p && [ -z "$(ls -A $p)" ]; then continue; fi; echo $p; done
echo "== links"; ip -o link show | awk -F': ' '{{print $2}}' | cut -d@ -f1
echo "== chains"; for t in $(cat /proc/net/ip_tables_names 2>/dev/null || echo filter nat mangle); do
  for c in iptables ip6tables; do
    $c-save -t $t 2>/dev/null | awk -v t=$t '/^:/{{print t, substr($1,2)}}'; done; done | sort -u
echo "== pods"
! systemctl is-active --quiet docker ||
  timeout 20 docker ps -a --filter label=io.kubernetes.docker.type --format '{{{{.Names}}}}'
true
"""


@dataclass(frozen=True)
class Left:
    """What is there of us besides files and our own containers."""

    paths: frozenset[str]
    links: frozenset[str]
    chains: tuple[str, ...]
    """``table chain``"""
    pods: tuple[str, ...]
    """Names of the containers that the kubelet made."""


class Leftovers(FactBase[Left]):
    """Paths, links, iptables chains and pods that we or our containers made."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(_SCRIPT.strip())

    @override
    def process(self, output: list[str]) -> Left:
        sections = split(output)
        chains = tuple(line for line in sections.get("chains", []) if line.count(" ") == 1)
        return Left(
            frozenset(sections.get("paths", [])),
            frozenset(sections.get("links", [])),
            chains,
            tuple(sections.get("pods", [])),
        )
