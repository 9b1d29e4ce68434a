"""The inventory seen as a cluster: nodes, roles, addresses, the first master."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any

from pyinfra import inventory
from pyinfra.api import DeployError
from pyinfra.api.host import Host

from . import platforms, settings
from .backends import BACKENDS, LINKS, Backend
from .facts.found import Found, Interface
from .facts.kernel import DOCKER_BRIDGE
from .facts.kubernetes import NodeState
from .facts.platform import Platform
from .facts.sections import shown
from .observe import ask, observe
from .platforms import RestartStrategy
from .record import BOOTSTRAP_BRIDGE
from .releases import Release
from .settings import Settings

ROLES = ("master", "worker")
NOT_BETWEEN_NODES = re.compile(
    "|".join((*map(re.escape, ("lo", "docker0", BOOTSTRAP_BRIDGE, *LINKS, "cni0")), "veth.*", DOCKER_BRIDGE))
)
"""Bridges, tunnels and containers' links that have an address, and none at which other nodes reach the host."""


def group(role: str) -> list[Host]:
    """Hosts of the inventory's group ``masters`` or ``workers``."""
    hosts: list[Host] = inventory.get_group(role + "s", default=[])
    return hosts


@dataclass(frozen=True)
class Node:
    """A host as a member of the cluster: all that a phase needs to know."""

    host: Host
    role: str
    name: str
    address: str
    interface: Interface
    arch: str
    settings: Settings
    found: Found
    restart: RestartStrategy
    first_master: Host
    master_address: str

    @property
    def is_master(self) -> bool:
        """Whether the control plane runs here."""
        return self.role == "master"

    @property
    def is_first_master(self) -> bool:
        """Whether the authorities and etcd are here."""
        return self.host is self.first_master

    @property
    def joined_as(self) -> str:
        """The name by which it is a node, by the record; the settings may have another one since."""
        try:
            return _node_name(str(self.found.record.get("name")))
        except ValueError:
            return self.name

    @property
    def turndown_scope(self) -> str:
        """What is turned down where the node can't stay as it is: with its first master the cluster's data go."""
        return "the cluster" if self.is_first_master else "this host"

    @property
    def docker_root(self) -> str:
        """Data root of the main Docker."""
        return self.found.docker_root or "/var/lib/docker"

    @property
    def release(self) -> Release:
        """What belongs to the Kubernetes version."""
        return self.settings.release

    @property
    def backend(self) -> Backend:
        """What flannel's backend needs."""
        return BACKENDS[self.settings.flannel_backend]

    @property
    def iptables(self) -> str:
        """The variant that the host's Docker uses, ``nft`` or ``legacy``. The kubelet is told; by the chains that it
        makes kube-proxy's image takes the same one."""
        return "nft" if "nf_tables" in self.found.iptables else "legacy"

    def image(self, reference: str) -> str:
        """An image's reference, in the registry that the settings name."""
        return self.settings.image(reference)

    def service_ip(self) -> str:
        """The apiserver's own service address: the first of the service network."""
        return str(ipaddress.IPv4Network(self.settings.service_network)[1])


def the_first_master() -> Host:
    """The master that keeps the authorities.

    :raises DeployError: the inventory has none, or more than one.
    """
    masters = group("master")
    if not masters:
        raise DeployError(
            "the inventory has no group `masters`; a worker needs the master it joins: write "
            'masters = ["192.168.1.10"] in the inventory, and choose hosts with --limit'
        )
    if len(masters) > 1:
        names = ", ".join(sorted(h.name for h in masters))
        raise DeployError(
            f"the inventory has {len(masters)} masters ({names}); several masters are not supported yet, "
            "leave one in `masters` and put the others into `workers`"
        )
    return masters[0]


def role_of(host: Host) -> str:
    """``master`` or ``worker``.

    :raises DeployError: the host is in neither group, or in both.
    """
    roles = [role for role in ROLES if host in group(role)]
    if len(roles) == 2:
        raise DeployError(
            f"{host.name} is in both groups, masters and workers; take it out of workers, a master runs pods too"
        )
    if not roles:
        raise DeployError(
            f"{host.name} is in none of the groups masters and workers; where it is to be a node, write it into one of "
            f'them in the inventory, as in workers = ["{host.name}"]; where it is none, leave it out: '
            "--limit masters --limit workers"
        )
    return roles[0]


def _data(host: Host) -> dict[str, Any]:
    merged: dict[str, Any] = host.data.dict()  # type: ignore[no-untyped-call]
    return merged


def settings_of(host: Host) -> Settings:
    """The checked settings of a host of the inventory."""
    try:
        return settings.load(_data(host), os.environ, hosts=len(list(inventory)))
    except DeployError as error:
        raise DeployError(f"{host.name}: {error}") from None


def node_of(host: Host) -> Node:
    """A host of the inventory as a node.

    :raises DeployError: something about the host or its settings is refused.
    """
    return as_found(host, *as_told(host))


def as_told(host: Host) -> tuple[str, Host, Settings]:
    """What the inventory says of a host: its role, the first master, its settings.

    :raises DeployError: something about them is refused.
    """
    return role_of(host), the_first_master(), settings_of(host)


def as_found(host: Host, role: str, first_master: Host, wanted: Settings) -> Node:
    """The host as a node, by what the inventory and itself say.

    :raises DeployError: what it says is refused.
    """
    found = observe(Platform, host)
    if not found.quotes_hold:
        raise DeployError(
            f"{host.name}: the login's shell there changes commands that it gets in quotes, as fish does; give that "
            "user another one: chsh -s /bin/bash"
        )
    interface = _interface(host.name, wanted, found)
    return Node(
        host=host,
        role=role,
        name=wanted.node_name or _host_name(host.name, found.name),
        address=interface.address,
        interface=interface,
        arch=_arch(host.name, wanted, found),
        settings=wanted,
        found=found,
        restart=_restart(host.name, found),
        first_master=first_master,
        master_address=wanted.master_ip or _master_address(host, first_master, interface, found),
    )


def _master_address(host: Host, first_master: Host, interface: Interface, found: Found) -> str:
    if host is first_master:
        return interface.address
    master = ask(Platform, first_master)
    if master is None:
        return str(found.record.get("master", ""))  # a turndown goes on without a master
    return _interface(first_master.name, settings_of(first_master), master).address


def _node_name(text: str) -> str:
    """The text, if it is a node's name.

    :raises ValueError: it is none.
    """
    return settings.OPTIONS["node_name"]["parse"](text)  # type: ignore[no-any-return]


def _host_name(host: str, name: str) -> str:
    try:
        return _node_name(name.lower())
    except ValueError:
        raise DeployError(
            f"{host}: its own name {shown(name)} can't be a node's name; set node_name for it, "
            "with lower-case letters, digits and '-'"
        ) from None


def master_name(node: Node) -> str:
    """The first master's name as a node, as far as that is known: by its record, its settings or what it says."""
    master = ask(Platform, node.first_master)
    recorded = str(master.record.get("name", "")) if master else ""
    return recorded or settings_of(node.first_master).node_name or (master.name.lower() if master else "")


def somebody_else(node: Node, name: str, there: NodeState | None) -> str | None:
    """Who the node of that name is, where that is not this host, which is not the first master.

    :param there: what the API knows by that name.
    """
    if name == master_name(node):
        return f"the master {node.first_master.name}"
    return f"another machine ({there.address})" if there and not there.is_on(node.found) else None


def _restart(host: str, found: Found) -> RestartStrategy:
    strategy = platforms.RESTART_STRATEGIES.get(found.init)
    if strategy is None:
        name = platforms.KNOWN_INITS.get(found.init, found.init)
        raise DeployError(
            f"{host}: runs under {name}, for which there is no restart strategy yet; hosts with systemd work"
        )
    return strategy


def _arch(host: str, wanted: Settings, found: Found) -> str:
    if found.machine in platforms.REFUSED_ARCHES:
        raise DeployError(f"{host}: is {found.machine}: {platforms.REFUSED_ARCHES[found.machine]}")
    arch = platforms.ARCHES.get(found.machine)
    if arch is None:
        known = ", ".join(sorted(set(platforms.ARCHES.values())))
        raise DeployError(f"{host}: says its arch is {shown(found.machine)}, which is not one of {known}")
    if (arch, found.docker_arch) in platforms.NARROWER:
        arch = found.docker_arch
    if wanted.arch and wanted.arch != arch and (arch, wanted.arch) not in platforms.NARROWER:
        raise DeployError(f"{host}: arch is set to {wanted.arch}, but the host is {found.machine} ({arch})")
    return wanted.arch or arch


def _interface(host: str, wanted: Settings, found: Found) -> Interface:
    if "ip addr" in found.unreadable:
        raise DeployError(f"{host}: what ip addr says there can't be read; look at it on the host")
    have = ", ".join(f"{i.address} on {i.name}" for i in found.interfaces) or "none"
    if wanted.ip_address:
        matches = [i for i in found.interfaces if i.address == wanted.ip_address]
        if not matches:
            raise DeployError(f"{host}: no interface has ip_address {wanted.ip_address}; the host has {have}")
        if wanted.net_interface and matches[0].name != wanted.net_interface:
            raise DeployError(
                f"{host}: ip_address {wanted.ip_address} is on {matches[0].name}, not on net_interface "
                f"{wanted.net_interface}; set one of the two"
            )
        return _usable(host, matches[0], have)
    name = wanted.net_interface or found.default_interface
    if not name:
        raise DeployError(f"{host}: has no default route to tell its address; set ip_address for it ({have})")
    chosen = found.interface(name)
    if chosen is None:
        raise DeployError(f"{host}: interface {name} has no IPv4 address; the host has {have}")
    return _usable(host, chosen, have)


def _usable(host: str, chosen: Interface, have: str) -> Interface:
    if NOT_BETWEEN_NODES.fullmatch(chosen.name) or ipaddress.IPv4Address(chosen.address).is_link_local:
        raise DeployError(
            f"{host}: {chosen.address} on {chosen.name} is not an address that other nodes reach; set ip_address "
            f"to another one ({have})"
        )
    return chosen
