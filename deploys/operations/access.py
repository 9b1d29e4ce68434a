"""Who may do what in etcd: every client by the common name of its certificate."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import StringCommand

from ..facts.access import FLANNEL, KNOWN, MARK, READS, WANTED, WRITES, Access, EtcdAccess
from ..facts.etcd import ETCDCTL
from ..observe import observe, this_host
from ..operation import Commands, operation
from ..plan import say, say_diff
from .on_master import etcd_is_silent

NOTE = (
    f"count=$({ETCDCTL} auth status | sed -n 's/^AuthRevision: //p') && "
    f'{ETCDCTL} put {KNOWN} "$count {MARK}" >/dev/null'
)
"""Lets the next question see by one number that nothing has changed."""


def _role(have: Access) -> list[str]:
    """flannel's role anew: what somebody added to it goes."""
    grant = f"role grant-permission --prefix {FLANNEL}"
    return [
        *([f"role delete {FLANNEL}"] if have.role else []),
        f"role add {FLANNEL}",
        *(f"{grant} read {prefix}" for prefix in READS),
        *(f"{grant} readwrite {prefix}" for prefix in WRITES),
    ]


def _user(name: str, roles: tuple[str, ...], have: tuple[str, ...] | None) -> list[str]:
    """A user without a password: only a certificate makes one be it."""
    return [
        *([f"user add --no-password {name}"] if have is None else []),
        *(f"user grant-role {name} {role}" for role in roles),
        *(f"user revoke-role {name} {role}" for role in have or () if role not in roles),
    ]


def _changes(have: Access) -> list[str]:
    role = _role(have) if have.role != WANTED.role else []
    users = [
        word
        for name, roles in WANTED.users.items()
        if have.users.get(name) != roles or (role and FLANNEL in roles)
        for word in _user(name, roles, have.users.get(name))
    ]
    return [*role, *users, *([] if have.enabled else ["auth enable"])]


@operation
def access_limited() -> Commands:
    """
    Ensure that each client of etcd may do what it needs only: a worker's certificate is flannel's, nothing more.
    """
    have = observe(EtcdAccess)
    if have == WANTED:
        host.noop("each client of etcd may do what it needs only")
        return
    if etcd_is_silent(have.answers, this_host()):
        say("Unknown what each client of etcd may do, etcd does not answer")
    else:
        old = have.lines() if have.users else []
        say_diff("Will set who may do what in etcd, by the common name of a certificate", old, WANTED.lines())
    yield StringCommand(" && ".join([*(f"{ETCDCTL} {words} >/dev/null" for words in _changes(have)), NOTE]))
