"""Who may do what in etcd: users by the common name of their certificate, and their roles. One execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from ..record import BOOTSTRAP_SOCKET
from .etcd import ETCDCTL, FLANNEL_PREFIX, LEASES

APISERVER, HEALTH, FLANNEL = "kube-apiserver-etcd-client", "kube-etcd-healthcheck-client", "flannel"
"""Common names of etcd's clients: the apiserver, the deploys on the master, and flannel on every node."""
ROOT = "root"
"""etcd's own role that may do all, and the user that must have it before etcd asks who somebody is. Nobody has a
certificate of that name."""

READS, WRITES = (f"{FLANNEL_PREFIX}/",), (f"{LEASES}/",)
"""Prefixes of keys that flannel's role may read, and those that it may also write."""

_SCRIPT = (
    f'e() {{ {ETCDCTL} "$@" 2>/dev/null; }}; [ ! -S {BOOTSTRAP_SOCKET} ] || {{ e auth status && {{ '
    f"e role get {FLANNEL}; for u in {ROOT} {APISERVER} {HEALTH} {FLANNEL}; do e user get $u; done; }}; }}; true"
)


@dataclass(frozen=True)
class Access:
    """Who may do what, as far as it is ours."""

    enabled: bool
    """Whether etcd asks who somebody is."""
    users: Mapping[str, tuple[str, ...]]
    """User → its roles."""
    role: tuple[str, ...]
    """What ``etcdctl role get`` says of flannel's role; empty where it is not there."""

    def lines(self) -> list[str]:
        """The same in lines, for a diff."""
        users = [f"user {user}: role {', '.join(roles) or 'none'}" for user, roles in sorted(self.users.items())]
        return [f"authentication {'on' if self.enabled else 'off'}", *users, *self.role]


def _range(prefix: str) -> str:
    return f"[{prefix}, {prefix[:-1]}{chr(ord(prefix[-1]) + 1)}) (prefix {prefix})"


WANTED = Access(
    True,
    {ROOT: (ROOT,), APISERVER: (ROOT,), HEALTH: (ROOT,), FLANNEL: (FLANNEL,)},
    (f"Role {FLANNEL}", "KV Read:", *map(_range, (*READS, *WRITES)), "KV Write:", *map(_range, WRITES)),
)
"""How it should be."""


class EtcdAccess(FactBase[Access]):
    """Who may do what in etcd, from the first master."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(_SCRIPT)

    @override
    def process(self, output: list[str]) -> Access:
        lines = [line.strip() for line in output if line.strip()]
        users: dict[str, tuple[str, ...]] = {}
        for line, following in pairwise(lines):
            if line.startswith("User: ") and following.startswith("Roles:"):
                users[line.removeprefix("User: ")] = tuple(following.removeprefix("Roles:").split())
        role = [line for line in lines if line.startswith(("Role ", "KV ", "["))]
        return Access("Authentication Status: true" in lines, users, tuple(role))

    @staticmethod
    @override
    def default() -> Access:  # no output at all: nothing is known
        return EtcdAccess().process([])
