"""The machine: its login, tools, kernel, clock, memory, arch."""

from __future__ import annotations

import ipaddress
import time
from itertools import pairwise

from ..facts.platform import TOOLS
from ..phases import host
from ..record import KUBELET, NODE, SUBNET_ENV
from ..run_nodes import active_nodes
from ..topology import Node, settings_of
from ..x509 import BACKDATED

MEMORY_KIB = {"master": 1_700_000, "worker": 700_000}
"""kubeadm asks 1700 MB of a control plane; less than 700 MB does not hold two daemons and a kubelet."""


CLOCK_SECONDS = BACKDATED - 60
"""How far a host's clock may be off: a certificate must be valid there when it comes."""


def root(node: Node) -> str | None:
    """Operations run as root."""
    if node.found.uid < 0:
        return readable(node)
    if node.found.uid != 0:
        return "the login is not root; set _sudo = True for it in the inventory, or run pyinfra with --sudo"
    return None


_MENDED: dict[str, str] = {
    NODE: "which says who this node is, is damaged; remove it, the next run writes it anew from the inventory",
    SUBNET_ENV: "which has the node's subnet, is damaged; remove it, the next run takes the subnet that etcd has "
    "reserved for the node",
}
"""What to do about a file of the record that can't be read; both are written anew from elsewhere."""


def readable(node: Node) -> str | None:
    """What the host said of itself can be what it was asked."""
    if what := [command for command in node.found.unreadable if command not in _MENDED]:
        return f"what {', '.join(what)} says there can't be read; look at it on the host, and mend what it prints"
    return None


def record_readable(node: Node) -> str | None:
    """The node's record is whole."""
    return next((f"{path}, {how}" for path, how in _MENDED.items() if path in node.found.unreadable), None)


def tools(node: Node) -> str | None:
    """The host has the few commands that a run uses."""
    missing = [tool for tool in TOOLS if tool not in node.found.tools]
    if "docker" in missing:
        return "has no docker; install Docker 25 or newer first"
    return f"has no {', '.join(missing)}; install it first" if missing else None


def arch_exists(node: Node) -> str | None:
    """The release is built for the host's arch."""
    if node.arch not in node.release.arches:
        return (
            f"is {node.arch}, for which Kubernetes {node.settings.k8s_version} is not built; "
            f"it is for {', '.join(node.release.arches)}"
        )
    return None


def cgroups(node: Node) -> str | None:
    """The memory controller is there: Raspberry Pi OS leaves it off."""
    if node.found.controllers and "memory" not in node.found.controllers:
        return (
            "the memory cgroup is off; add cgroup_enable=memory to the kernel's command line "
            "(/boot/firmware/cmdline.txt on a Raspberry Pi) and reboot"
        )
    return None


def modules(node: Node) -> str | None:
    """The kernel has the modules that the pod network needs: Ubuntu has some in a package of their own."""
    missing = [module for module in host.modules(node) if module in node.found.missing_modules]
    if missing and node.found.modules_gone:
        return (
            f"the modules of its running kernel {node.found.kernel} are gone from /lib/modules, and it has not loaded "
            f"{', '.join(missing)}; reboot, so that the kernel runs that was installed since"
        )
    if missing:
        return (
            f"its kernel has no module {', '.join(missing)}; install it, on Ubuntu with: "
            f"apt-get install linux-modules-extra-{node.found.kernel}, on RHEL and its kin with: "
            f"dnf install kernel-modules-extra-{node.found.kernel}"
        )
    return None


def resolvers(node: Node) -> str | None:
    """CoreDNS can ask the host's name servers: at an address of this host alone a pod would ask itself, and pods have
    IPv4 only. Where the file says nothing at all, cri-dockerd leaves pods the servers that Docker has by itself."""
    if node.found.resolvers is None:
        return "has no /etc/resolv.conf; make one, an empty one will do"
    servers = [server for text in node.found.resolvers if (server := _address(text))]
    itself = [server for server in servers if server.is_loopback]
    if "resolv-conf" in node.settings.kubelet_extra_args:
        return None
    if itself:
        why = f"names {itself[0]}, where a pod would ask itself; write the name servers behind it"
    elif servers and all(server.version == 6 for server in servers):
        why = f"names {servers[0]} and no IPv4 address, and pods have IPv4 only; write name servers with IPv4 addresses"
    elif node.found.searches and not node.found.resolvers:
        why = "has search, domain or options, but no nameserver, and pods would ask none; write your name servers"
    else:
        return None
    return (
        f"{node.found.resolv_conf} {why} into a file on the host, like /etc/resolv-pods.conf, and set "
        'kubelet_extra_args = {"resolv-conf": "/proc/1/root/etc/resolv-pods.conf"}'
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def shared_mounts(node: Node) -> str | None:
    """The kubelet's mounts must reach the host."""
    state = node.found.propagation.get(KUBELET) or node.found.propagation.get("/")
    if state == "private":
        return "/ is not a shared mount; run: mount --make-rshared / (systemd does it at boot)"
    return None


def clock(node: Node) -> str | None:
    """Certificates are issued by this machine's clock and checked by the host's."""
    off = node.found.time - int(time.time())
    if abs(off) > CLOCK_SECONDS:
        return (
            f"its clock is {abs(off)} s {'ahead of' if off > 0 else 'behind'} this machine's; certificates would not "
            "be valid there. Set it, and keep it with NTP"
        )
    return None


def memory(node: Node) -> str | None:
    """Enough memory for the role."""
    have, need = node.found.memory_kib, MEMORY_KIB[node.role]
    if have and have < need:
        return f"has {have // 1024} MiB of memory; a {node.role} needs {need // 1024}"
    return None


def firewall(node: Node) -> str | None:
    """firewalld flushes Docker's and kube-proxy's rules when it reloads."""
    if "firewalld" in node.found.active:
        return (
            "firewalld is running, which takes Docker's and kube-proxy's rules away when it reloads; systemctl disable "
            "--now firewalld, then systemctl restart docker for the rules that it took"
        )
    return None


_FROM_OTHERS: dict[str, dict[str, str]] = {
    "master": {"2379": "tcp", "6443": "tcp", "10250": "tcp"},
    "worker": {"10250": "tcp"},
}
"""What nodes and pods need of a host: port → protocol."""


def ufw(node: Node) -> str | None:
    """ufw lets other nodes and pods in."""
    policy, *lines = node.found.ufw or ("policy ACCEPT",)
    if policy == "policy ACCEPT":
        return None
    rules, others = [dict(pairwise(line.split())) for line in lines], _others(node)
    needed = {**_FROM_OTHERS[node.role], **({str(node.backend.udp_port): "udp"} if node.backend.udp_port else {})}
    shut = [f"{port}/{of}" for port, of in needed.items() if not _is_open(node, others, rules, port, of)]
    if not shut:
        return None
    sources = (*map(str, _beside(node, others)), node.settings.flannel_network)
    allow = " && ".join(f"ufw allow from {source.removesuffix('/32')}" for source in sources)
    return f"its ufw does not let all other nodes and pods in on {', '.join(shut)}; run there: {allow}"


def _others(node: Node) -> list[ipaddress.IPv4Network]:
    """Addresses of the other nodes, as far as they are known: of this run, and the master's."""
    known = {other.address for other in active_nodes()}
    if not node.settings.master_ip:  # nothing comes from that one
        known.add(node.master_address)
    return sorted(map(ipaddress.IPv4Network, known - {node.address, ""}))


def _beside(node: Node, others: list[ipaddress.IPv4Network]) -> list[ipaddress.IPv4Network]:
    """Where other nodes are: the host's own network, where it has one, and those that are beyond."""
    lan = node.interface.network
    own = [lan] if lan.num_addresses > 1 else []
    return own + [other for other in others if not other.subnet_of(lan)]


def _is_open(
    node: Node, others: list[ipaddress.IPv4Network], rules: list[dict[str, str]], port: str, protocol: str
) -> bool:
    """Whether all who need that port come in; where no other node is known, anybody."""
    callers = [(node.interface.name, other) for other in others or (None,)]
    if port in _from_pods(node):
        callers.append(("docker0", ipaddress.IPv4Network(node.settings.flannel_network)))
    here = ipaddress.IPv4Network(node.address)
    fit = [o for o in rules if _is_for(o, port, protocol) and _covers(o.get("-d"), here)]
    return all(any(_is_by(o, by) and _covers(o.get("-s"), source) for o in fit) for by, source in callers)


def _from_pods(node: Node) -> tuple[str, ...]:
    """Ports that pods on the host itself need too, which come in by docker0: the API's, and metrics-server's."""
    return ("6443", *(["10250"] if "metrics-server" in settings_of(node.first_master).addons else []))


def _is_by(options: dict[str, str], interface: str) -> bool:
    name = options.get("-i", "+")  # iptables: a + at the end is for any text
    return interface == name or (name.endswith("+") and interface.startswith(name[:-1]))


def _covers(addresses: str | None, wanted: ipaddress.IPv4Network | None) -> bool:
    try:
        return not addresses or wanted is None or wanted.subnet_of(ipaddress.IPv4Network(addresses, strict=False))
    except ValueError:
        return False


def _is_for(options: dict[str, str], port: str, protocol: str) -> bool:
    ports = [part.partition(":") for part in options.get("--dports", options.get("--dport", port)).split(",")]
    return options.get("-p", protocol) in (protocol, "all") and any(
        int(low) <= int(port) <= int(high or low) for low, _, high in ports if low.isdecimal()
    )
