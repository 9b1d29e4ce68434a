"""Files with secrets between a host and the control machine, through the standard output and input of commands.

pyinfra's own transfer with sudo goes through a temporary file that others can read.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from pathlib import Path

from pyinfra.api.host import Host

from .facts.sections import number, parts
from .private import private_file
from .remote import run

PIECE = 3 << 20
"""Bytes a command carries; a multiple of three, so that pieces of base64 can be put together."""


def _pieces(host: Host, path: str) -> tuple[list[str], str]:
    file = shlex.quote(path)
    ok, out, err = run(host, f"{_BEGIN}; stat -c %s {file} && sha256sum < {file}")
    words = _answer(out).split()
    size = number(words[0]) if len(words) > 1 else None
    if not ok or size is None:
        raise OSError(err.strip() or f"{path} can't be read on {host.name}")
    return [f"{_BEGIN}; dd if={file} bs={PIECE} skip={n} count=1 2>/dev/null | base64 -w 0"
            for n in range(-(-size // PIECE))], words[1]  # fmt: skip


# a login shell may print something before it
_BEGIN = "echo '== file'"


def _answer(out: str) -> str:
    return "\n".join(parts(out.splitlines()).get("file", []))


def fetch(host: Host, path: str, place: Path) -> None:
    """Copy a file of a host to a place where nothing is yet, for its owner only.

    :raises OSError: it can't be read or written, or something is at that place.
    """
    commands, digest = _pieces(host, path)
    seen = hashlib.sha256()
    with private_file(place) as file:
        for command in commands:
            _, out, _ = run(host, command)
            piece = base64.b64decode(_answer(out))
            seen.update(piece)
            file.write(piece)
        if seen.hexdigest() != digest:
            raise OSError(f"{path} did not arrive whole")


def send(host: Host, place: Path, path: str) -> None:
    """Copy a file of the control machine to a host, for root only.

    :raises OSError: it can't be read, or the host could not write it; what it has of it is removed.
    """
    part = shlex.quote(f"{path}.part")
    try:
        _send(host, place, path, part)
    except OSError:
        run(host, f"rm -f {part}")
        raise


def _send(host: Host, place: Path, path: str, part: str) -> None:
    seen = hashlib.sha256()
    command = f"umask 077; mkdir -p {shlex.quote(os.path.dirname(path))} && : > {part}"
    stdin = None
    with place.open("rb") as file:
        while True:
            ok, _, err = run(host, command, stdin)
            if not ok:
                raise OSError(err.strip() or f"{path} can't be written on {host.name}")
            piece = file.read(PIECE)
            if not piece:
                break
            seen.update(piece)
            command, stdin = f"umask 077; base64 -d >> {part}", base64.b64encode(piece).decode()
    check = f'[ "$(sha256sum < {part} | cut -c-64)" = {seen.hexdigest()} ] && mv -f {part} {shlex.quote(path)}'
    if not run(host, check)[0]:
        raise OSError(f"{place} did not arrive whole on {host.name}")
