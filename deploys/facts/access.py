"""Who may do what in etcd: users by the common name of their certificate, and their roles. One execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from ..record import BOOTSTRAP_SOCKET
from .etcd import ETCDCTL, FLANNEL_PREFIX, LEASES
from .sections import END, Bundle, Sections, first

APISERVER, HEALTH, FLANNEL = "kube-apiserver-etcd-client", "kube-etcd-healthcheck-client", "flannel"
"""Common names of etcd's clients: the apiserver, the deploys on the master, and flannel on every node."""
ROOT = "root"
"""etcd's own role that may do all, and the user that must have it before etcd asks who somebody is. Nobody has a
certificate of that name."""

READS, WRITES = (f"{FLANNEL_PREFIX}/",), (f"{LEASES}/",)
"""Prefixes of keys that flannel's role may read, and those that it may also write."""

USERS: Mapping[str, tuple[str, ...]] = {ROOT: (ROOT,), APISERVER: (ROOT,), HEALTH: (ROOT,), FLANNEL: (FLANNEL,)}
"""User → its roles."""

_USERS = "\n".join(f'echo "== user {user}"; ask user get {user}' for user in USERS)
_SCRIPT = f"""
status=$([ ! -S {BOOTSTRAP_SOCKET} ] || {ETCDCTL} auth status 2>/dev/null)
ask() {{ [ -z "$status" ] || {ETCDCTL} "$@" 2>/dev/null; }}
echo "== authentication"; echo "$status"
echo "== role"; ask role get {FLANNEL}
{_USERS}
{END}
"""


@dataclass(frozen=True)
class Access:
    """Who may do what, as far as it is ours."""

    answers: bool
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
    True,
    USERS,
    (f"Role {FLANNEL}", "KV Read:", *map(_range, (*READS, *WRITES)), "KV Write:", *map(_range, WRITES)),
)
"""How it should be."""


class EtcdAccess(Bundle[Access]):
    """Who may do what in etcd, from the first master."""

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Access:
        status = first(sections, "authentication")
        users = {}
        for user in USERS:
            name, *roles = [line.strip() for line in sections[f"user {user}"] if line.strip()] or [""]
            if name == f"User: {user}":
                users[user] = tuple(" ".join(roles).removeprefix("Roles:").split())
        role = tuple(line.strip() for line in sections["role"] if line.strip())
        return Access(status.startswith("Authentication Status: "), status.endswith(" true"), users, role)
