"""What a host says of itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sections import variables

RESOLV_CONF = "/etc/resolv.conf"
RESOLVED = "/run/systemd/resolve/resolv.conf"
"""What systemd-resolved itself asks; the other file may name its stub at 127.0.0.53."""


@dataclass(frozen=True)
class Interface:
    """A network interface that carries an IPv4 address."""

    name: str
    address: str
    prefix: int
    mtu: int

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The network in which it is."""
        return ipaddress.IPv4Interface(f"{self.address}/{self.prefix}").network


@dataclass(frozen=True)
class Disk:
    """The file system on which a place lies."""

    device: str
    size_mib: int
    free_mib: int
    """What is free for others than root."""
    inodes: int | None
    """Free ones; None where the file system does not count them."""


@dataclass(frozen=True)
class Found:
    """What a host said of itself."""

    quotes_hold: bool
    """Whether the login's shell hands on what is quoted as it is. fish makes one backslash of two in quotes."""
    machine: str
    kernel: str
    name: str
    machine_id: str
    boot_id: str
    """The kernel's, another one after each boot and on a copy of the machine."""
    uid: int
    time: int
    init: str
    tools: frozenset[str]
    """Those of TOOLS that are there."""
    interfaces: tuple[Interface, ...]
    hardware: dict[str, str]
    """Network link → its hardware address."""
    routes: tuple[str, ...]
    """Destinations of the IPv4 routes with their interface, like ``10.0.0.0/8 eth0``."""
    default_interface: str
    active: frozenset[str]
    resolvers: tuple[str, ...] | None
    """Addresses of the name servers that pods get from the host; None where it has no /etc/resolv.conf."""
    resolv_conf: str
    """Path of the file that has them, without links: in the kubelet's container a link's path is another one."""
    searches: bool
    """Whether that file says more than name servers, like search domains."""
    ufw: tuple[str, ...]
    """Of an enabled ufw: ``policy DROP`` and the rules that let something in; empty where it is off."""
    missing_modules: frozenset[str]
    """Out of MODULES, those that are neither in the kernel nor on the disk; none where no kernel's files are here, as
    in a container."""
    iptables: str
    controllers: frozenset[str]
    memory_kib: int
    disks: dict[str, Disk]
    """Place → its disk, of the places that we or Docker write to."""
    listening: frozenset[int]
    propagation: dict[str, str]
    daemon_json: dict[str, Any] | None
    """None where the file is not JSON; {} where there is none. URLs' passwords are hidden: HIDDEN stands there."""
    dockerd: str
    docker_flags: tuple[str, ...]
    """What the main Docker runs with now; URLs' passwords are hidden."""
    record: dict[str, Any]
    data: dict[str, Any]
    """What the record says of etcd's data."""
    subnet_env: str
    docker_unit: tuple[str, ...]
    """Text of docker.service with its drop-ins, as ``systemctl cat`` prints them; URLs' passwords are hidden."""
    foreign_kubernetes: tuple[str, ...]
    """Files in /etc/kubernetes and of a kubelet that are not ours, where the host is no node of ours."""
    there_before: tuple[str, ...]
    """What lies in the places of any Kubernetes where we have never been: these paths, and what is in them."""
    etcd_data: bool
    etcd_ca: bool
    docker_version: str
    docker_arch: str
    """What Docker was built for, by Go's name: an image that it pulls is for that."""
    docker_api: str
    """Newest API version that Docker speaks."""
    docker_min_api: str
    """Oldest API version that Docker speaks."""
    docker_root: str
    """Where the main Docker keeps its data, without links."""
    swarm: bool
    """Whether it is part of one."""
    unreadable: tuple[str, ...] = ()
    """Commands and files of the record whose text is not what it should be; nothing may be decided on it."""
    modules_gone: bool = False
    """Whether the files of other kernels are here, and those of the running one are not: an upgrade took them away."""
    waited: bool = False
    """Whether the answer came only after something that an ended run had left at work."""

    @property
    def flannel(self) -> dict[str, str]:
        """What subnet.env says, like FLANNEL_SUBNET; empty where there is none."""
        return variables(self.subnet_env.splitlines())

    def interface(self, name: str) -> Interface | None:
        """The interface of that name, if it has an address."""
        return next((i for i in self.interfaces if i.name == name), None)

    def crowded(self, needs: Mapping[str, int], what: str) -> str | None:
        """The sentence about a disk that has less room than is needed there; places of one disk are counted together.

        :param needs: place → MiB.
        :param what: for what.
        """
        wanted: dict[str, list[str]] = {}
        for place in needs:
            if disk := self.disks.get(place):
                wanted.setdefault(disk.device, []).append(place)
        for places in wanted.values():
            free, need = self.disks[places[0]].free_mib, sum(needs[place] for place in places)
            if free < need:
                return f"the disk of {' and '.join(places)} has {free} MiB free; {what} needs {need} there"
        return None
