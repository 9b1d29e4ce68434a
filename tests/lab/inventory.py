"""A pyinfra inventory of the lab's hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from pprint import pformat

from .hosts import Host
from .paths import KNOWN_HOSTS, SSH_KEY, host_address


def write(
    path: Path, masters: Iterable[str | Host], workers: Iterable[str | Host], user: str | Mapping[str, str]
) -> Path:
    """Write inventory.py with the groups masters and workers."""
    groups = [("masters", masters), ("workers", workers)]
    text = '"""Written by the lab."""\n'
    for group, members in groups:
        rows = [(name, _data(name, user)) for name in map(_name, members)]
        text += f"\n{group} = {pformat(rows, sort_dicts=False)}\n"
    path.write_text(text)
    return path


def _name(host: str | Host) -> str:
    return host if isinstance(host, str) else host.name


def _data(name: str, user: str | Mapping[str, str]) -> dict[str, object]:
    login = user if isinstance(user, str) else user.get(name, "root")
    data: dict[str, object] = {
        "ssh_hostname": host_address(name),
        "ssh_user": login,
        "ssh_key": str(SSH_KEY),
        "ssh_known_hosts_file": str(KNOWN_HOSTS),
        "ssh_strict_host_key_checking": "yes",
    }
    return data if login == "root" else {**data, "_sudo": True}
