"""Kernel modules and sysctls, and what they were before us. One execution."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyinfra.api import FactProcessError, StringCommand
from typing_extensions import override

from ..record import BEFORE
from .sections import END, Sectioned, Sections, shown, whole

MODULES = {
    "br_netfilter": "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "vxlan": "/sys/module/vxlan",
}
"""Module → what is there when it is loaded or built in.

br_netfilter: bridged packets pass iptables (kube-proxy needs it). vxlan: flannel's device.
"""

BOOT_SYSCTLS = {
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.ipv4.tcp_keepalive_time": "30",
    "net.ipv4.tcp_keepalive_intvl": "10",
}
"""What the pod network needs and nobody else sets at boot.

Keepalive: flanneld's connection to etcd has the kernel's (pkg/subnet/etcd/registry.go sets none of gRPC's). With
the usual 7200 s a node does not learn for two hours that a master came back from a power cut, with another
hardware address of flannel.1, and sends it its pods' packets in vain all that time (measured).
"""

SYSCTLS = {"net.ipv4.ip_forward": "1", **BOOT_SYSCTLS}
"""What the pod network needs. At boot forwarding is left to the main Docker, which then also sets the policy of
FORWARD to DROP: it does so only where it switches forwarding on itself (moby libnetwork/drivers/bridge)."""

KUBELET_SYSCTLS = ("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops",
                   "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes")  # fmt: skip
"""What the kubelet sets by itself (pkg/kubelet/cm/container_manager_linux.go setupKernelTunables)."""

PROXY_SYSCTLS = ("net.ipv4.conf.all.route_localnet", "net.netfilter.nf_conntrack_tcp_timeout_established",
                 "net.netfilter.nf_conntrack_tcp_timeout_close_wait", "net.netfilter.nf_conntrack_tcp_be_liberal",
                 "net.ipv4.vs.conntrack")  # fmt: skip
"""What kube-proxy sets by itself (cmd/kube-proxy/app/server_linux.go, pkg/proxy/iptables/proxier.go)."""

DOCKER0_SYSCTL = "net.ipv4.conf.docker0.route_localnet"
"""What dockerd sets on each of its bridges where it runs without docker-proxy, as it does on the pod network, and never
takes back (moby libnetwork/drivers/bridge/setup_bridgenetfiltering.go and setup_ipv4.go)."""
DOCKER_BRIDGE = "br-[0-9a-f]{12}"
"""What the bridge of a Docker network is called: by its id. A machine's own may be called br-lan or br-ex."""
BRIDGE_SYSCTL = re.compile(rf"net\.ipv4\.conf\.{DOCKER_BRIDGE}\.route_localnet")
"""The same of another network's bridge."""
_BRIDGES = "/proc/sys/net/ipv4/conf/br-????????????/route_localnet"

_KNOWN = (*SYSCTLS, *KUBELET_SYSCTLS, *PROXY_SYSCTLS, DOCKER0_SYSCTL)
_LOADED = "; ".join(f"[ -e {proof} ] && echo {name}" for name, proof in MODULES.items())
_PATHS = " ".join(f"/proc/sys/{key.replace('.', '/')}" for key in _KNOWN)
_SCRIPT = (
    f'echo "== modules"; {_LOADED}; '
    f'echo "== sysctls"; grep -sH . {_PATHS} {_BRIDGES} | sed "s/:/ /"; '
    f'echo "== before"; {whole(f"{BEFORE}/kernel")}; {END}'
)


@dataclass(frozen=True)
class KernelState:
    """Modules and sysctls as they are."""

    modules: frozenset[str]
    """Loaded or built in, out of MODULES."""
    sysctls: dict[str, str]
    before: dict[str, str]
    """What the record says of the time before us; {} where there is no record."""


_NUMBER = re.compile(r"-?[0-9]{1,20}")
"""What each of these sysctls is."""


class Kernel(Sectioned[KernelState]):
    """Modules and sysctls, and what the record says of the time before us."""

    headings = ("modules", "sysctls", "before")

    @override
    def command(self) -> StringCommand:
        return StringCommand(_SCRIPT)

    @override
    def read(self, sections: Sections) -> KernelState:
        sysctls = {}
        for line in sections["sysctls"]:
            path, _, value = line.partition(" ")
            if not path.startswith("/proc/sys/") or not _NUMBER.fullmatch(value):
                raise FactProcessError(f"the host says {shown(line)} of a sysctl")
            key = path.removeprefix("/proc/sys/").replace("/", ".")
            if not key.startswith("net.ipv4.conf.br-") or BRIDGE_SYSCTL.fullmatch(key):
                sysctls[key] = value
        before = {}
        for line in filter(None, sections["before"]):
            name, _, value = line.partition("=")
            known = name in _KNOWN or BRIDGE_SYSCTL.fullmatch(name)
            if not (_NUMBER.fullmatch(value) if known else name.startswith("module ")):
                raise FactProcessError(f"{BEFORE}/kernel has the line {shown(line)}, which is not from us; take it out")
            before[name] = value
        return KernelState(frozenset(sections["modules"]) & set(MODULES), sysctls, before)
