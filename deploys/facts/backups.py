"""An archive of deploys/backup.py: what it says of itself and what is in it, never the keys. One execution."""

from __future__ import annotations

import gzip
import re
import shlex
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyinfra.api import StringCommand
from typing_extensions import override

from ..record import BACKUPS
from .sections import END, Sectioned, Sections, first, json_object

ABOUT, STATUS, SNAPSHOT = "backup.json", "status.json", "snapshot.db"
FORMAT = "docker-multinode backup 1"

# listing it reads it to its end, which finds what is cut off
_SCRIPT = rf"""
p=PATH
echo "== there"; [ -f "$p" ] && echo yes
echo "== members"; [ ! -f "$p" ] || {{ timeout 300 tar -tzf "$p" 2>/dev/null && echo "== whole" && echo yes; }}
echo "== about"; [ ! -f "$p" ] || tar -xzOf "$p" --occurrence=1 {ABOUT} 2>/dev/null; echo
echo "== status"; [ ! -f "$p" ] || tar -xzOf "$p" --occurrence=1 {STATUS} 2>/dev/null; echo
echo "== others"; find {BACKUPS} -type f -name '*.tar.gz' 2>/dev/null | sort
{END}
"""


@dataclass(frozen=True)
class Backup:
    """An archive, as it lies on a host or on the control machine."""

    there: bool
    ours: bool = False
    """Whether it is whole, and of deploys/backup.py."""
    about: dict[str, Any] = field(default_factory=dict)
    """node, address, kubernetes, network, service_network, dns_server_ip, taken, and authorities: path → hash of the
    certificate."""
    status: dict[str, Any] = field(default_factory=dict)
    """What etcdutl said of the snapshot: hash, revision, totalKey, totalSize."""
    members: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    """The archives that lie on the host."""

    def described(self) -> str:
        """When it was taken and how much is in it."""
        return (
            f"taken {self.about.get('taken')}, revision {self.status.get('revision')}, "
            f"{self.status.get('totalKey')} keys, {self.status.get('totalSize')} bytes"
        )


def _backup(whole: bool, about: str, status: str, members: Iterable[str], others: Iterable[str] = ()) -> Backup:
    said, names = json_object(about) or {}, frozenset(members)
    known = isinstance(said.get("authorities"), dict) and bool(re.fullmatch(r"\d{8}T\d{6}Z", str(said.get("taken"))))
    ours = whole and said.get("format") == FORMAT and known and {ABOUT, STATUS, SNAPSHOT} <= names
    return Backup(True, ours, said, json_object(status) or {}, names, tuple(others))


def local_backup(path: Path) -> Backup:
    """An archive on the control machine."""
    try:
        if not path.is_file():
            return Backup(False)
    except OSError:  # a directory that may not be looked into
        return Backup(False)
    texts = {ABOUT: "", STATUS: ""}
    names = set()
    try:
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r:") as archive:
            for member in archive:
                names.add(member.name)
                if member.name in texts and member.isfile() and (file := archive.extractfile(member)):
                    texts[member.name] = file.read(1 << 20).decode(errors="replace")
            while packed.read(1 << 20):  # to the checksum at its end
                pass
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error):
        return Backup(True)
    return _backup(True, texts[ABOUT], texts[STATUS], names)


class BackupFile(Sectioned[Backup]):
    """An archive of deploys/backup.py on a host."""

    @override
    def command(self, path: str) -> StringCommand:
        return StringCommand(_SCRIPT.strip().replace("PATH", shlex.quote(path), 1))

    @override
    def read(self, sections: Sections) -> Backup:
        others = tuple(sections.get("others", []))
        if first(sections, "there") != "yes":
            return Backup(False, others=others)
        about, status = ("\n".join(sections.get(name, [])) for name in ("about", "status"))
        return _backup(first(sections, "whole") == "yes", about, status, sections.get("members", []), others)
