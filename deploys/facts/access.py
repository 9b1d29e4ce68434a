"""Who may do what in etcd: users by the common name of their certificate, and their roles. One execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from typing_extensions import override

from ..render import digest
from .etcd import FLANNEL_PREFIX, INSIDE, LEASES
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

KNOWN = "/docker-multinode/access"
"""Key in etcd: its count of changes to users and roles when they were last set as wanted, and MARK. While etcd counts
the same nothing has changed since (it adds one with each change, server/auth/store.go), and no user is asked for."""
MARK = digest("\n".join(WANTED.lines()))
AS_KNOWN = "as known"

# Users and roles all at the same time, each answer in one piece
_SCRIPT = rf"""
{INSIDE}
whole() {{ a=$(inside "$@" 2>/dev/null); [ -z "$a" ] || printf '%s\n' "$a"; }}
status=$(inside auth status 2>/dev/null)
echo "== authentication"; echo "$status"
known=; [ -z "$status" ] || known=$(inside get --print-value-only {KNOWN} 2>/dev/null)
echo "== users"
if [ -z "$status" ]; then :
elif [ "$known" = "${{status##*AuthRevision: }} {MARK}" ]; then echo {AS_KNOWN}
else for user in {" ".join(USERS)}; do whole user get $user & done; whole role get {FLANNEL}; wait; fi
{END}
"""


class EtcdAccess(Bundle[Access]):
    """Who may do what in etcd, from the first master."""

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Access:
        status = first(sections, "authentication")
        answers, enabled = status.startswith("Authentication Status: "), status.endswith(" true")
        if first(sections, "users") == AS_KNOWN:
            return replace(WANTED, answers=answers, enabled=enabled)
        users: dict[str, tuple[str, ...]] = {}
        role: list[str] = []
        user = ""
        for line in filter(None, map(str.strip, sections["users"])):
            kind, _, text = line.partition(":")
            if kind == "User":
                user = text.strip()
            elif kind == "Roles":
                users[user] = tuple(text.split())
            else:
                role.append(line)
        return Access(answers, enabled, users, tuple(role))
