"""The lab's own network namespace: no default route, one veth to the machine. Removing it removes all."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from .paths import (
    APT_PORT,
    HTTP_PORT,
    LAB_ADDRESS,
    MACHINE_ADDRESS,
    NETNS,
    REGISTRY_PORT,
    SUBNET,
    VETH_LAB,
    VETH_MACHINE,
)
from .shell import LabError, run

NETNS_PATH = Path("/run/netns") / NETNS


def up() -> None:
    """Make what is missing of the namespace, the veth and the route."""
    if not NETNS_PATH.exists():
        run("ip", "netns", "add", NETNS)
    if not _has_link(VETH_MACHINE):
        _refuse_taken_addresses()
        run("ip", "link", "add", VETH_MACHINE, "type", "veth", "peer", "name", VETH_LAB, "netns", NETNS)
    run("ip", "address", "replace", f"{MACHINE_ADDRESS}/30", "dev", VETH_MACHINE)
    run("ip", "link", "set", VETH_MACHINE, "up")
    inside("ip", "link", "set", "lo", "up")
    inside("ip", "address", "replace", f"{LAB_ADDRESS}/30", "dev", VETH_LAB)
    inside("ip", "link", "set", VETH_LAB, "up")
    _only_the_labs_ports()
    # A packet to nowhere is told so at once, each of them; the bridge is a switch and filters nothing.
    inside("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
    inside("sysctl", "-qwe", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
    run("ip", "route", "replace", SUBNET, "via", LAB_ADDRESS, "dev", VETH_MACHINE)


def down() -> None:
    """Remove the veth (with it the route) and the namespace (with it bridges and rules)."""
    if _has_link(VETH_MACHINE):
        run("ip", "link", "delete", VETH_MACHINE)
    if NETNS_PATH.exists():
        run("ip", "netns", "delete", NETNS)
        if not any(NETNS_PATH.parent.iterdir()):  # it is a mount that the first namespace of a machine makes
            run("umount", NETNS_PATH.parent, check=False)


def is_up() -> bool:
    """Whether both the namespace and the veth stand."""
    return NETNS_PATH.exists() and _has_link(VETH_MACHINE)


def inside(*command: str | Path) -> str:
    """Run a command in the lab's network. Not `ip netns exec`, which remounts /sys and hides the cgroups."""
    return run("nsenter", f"--net={NETNS_PATH}", *command).stdout


def port_off(process: int) -> str:
    """The bridge drops all that comes from a container's cable or is for it; neither side gets an error.

    :param process: a process of the container, which must have one cable only.
    :returns: the name of the bridge's port, for `port_on`.
    """
    cables = json.loads(run("nsenter", f"--net=/proc/{process}/ns/net", "ip", "-json", "link", "show", "eth0").stdout)
    number = cables[0]["link_index"]
    port = next(str(link["ifname"]) for link in json.loads(inside("ip", "-json", "link")) if link["ifindex"] == number)
    inside("bridge", "link", "set", "dev", port, "state", "disabled")
    return port


def port_on(port: str) -> None:
    """Let the bridge's port forward again; it went with its container where that ended meanwhile."""
    if port in inside("ip", "-json", "link"):
        inside("bridge", "link", "set", "dev", port, "state", "forwarding")


def _only_the_labs_ports() -> None:
    """A host reaches what the lab offers on the machine, and nothing else that happens to listen there."""
    ports = ",".join(map(str, (REGISTRY_PORT, APT_PORT, HTTP_PORT)))
    opening = ("-o", VETH_LAB, "-p", "tcp", "--syn", "-m", "multiport", "!", "--dports", ports)
    rule = ("FORWARD", *opening, "-j", "REJECT", "--reject-with", "tcp-reset")
    inside("sh", "-c", 'iptables -w -C "$@" 2>/dev/null || iptables -w -A "$@"', "-", *rule)


def _has_link(name: str) -> bool:
    return run("ip", "link", "show", name, check=False).returncode == 0


def _refuse_taken_addresses() -> None:
    lab = ipaddress.ip_network("10.89.0.0/16")
    for link in json.loads(run("ip", "-json", "-4", "address").stdout):
        for info in link.get("addr_info", []):
            if ipaddress.ip_interface(f"{info['local']}/{info['prefixlen']}").network.overlaps(lab):
                raise LabError(f"the lab uses {lab}, and {link['ifname']} of this machine has {info['local']}")
    for route in json.loads(run("ip", "-json", "-4", "route").stdout):
        target = route["dst"]
        if target != "default" and ipaddress.ip_network(target, strict=False).overlaps(lab):
            raise LabError(f"the lab uses {lab}, and this machine has a route to {target}")
