"""One archive of what the hosts say of themselves, on the control machine. Hosts are only read."""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import gevent
from pyinfra import logger
from pyinfra.api import DeployError, FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .. import x509
from ..facts.evidence import CERTIFICATES, PATIENCE, answers, script
from ..operation import Commands, operation
from ..plan import say
from ..private import private_file
from ..redaction import redacted
from ..remote import run

LIMIT = PATIENCE + 60
"""Seconds after which a host is given up."""
NOT_COLLECTED = "not-collected.txt"
"""Stands in the folder of a host that said nothing, with the reason."""

_READ_ME = """What the hosts of a docker-multinode cluster said of themselves on {date}.

Keys, Secrets, ConfigMaps and the environment of containers were not read, and what looks like a password, token or
key was replaced by [redacted]. Names and addresses of hosts, images, containers and pods are in here, and logs: read
it before you give it away. Of each file there are at most its last lines.

{hosts}
"""


@dataclass
class _Collection:
    """What the hosts of one run have said so far."""

    path: Path
    wanted: set[Host] = field(default_factory=set)
    texts: dict[Host, dict[str, str]] = field(default_factory=dict)
    """Host → file → text; for a host that said nothing, the reason."""


_collections: WeakKeyDictionary[State, _Collection] = WeakKeyDictionary()


def archive_path(host: Host, wanted: str | None) -> str:
    """Let a host's evidence be collected, and tell where this run's archive goes: the first host decides for all.

    :param wanted: a path, or None for a name with the time in the working directory.
    :raises DeployError: something is there, or its directory is not.
    """
    state: State = host.state
    if state not in _collections:
        path = Path(wanted or f"docker-multinode-evidence-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.tar.gz")
        path = path.expanduser().absolute()
        if os.path.lexists(path):
            raise DeployError(f"{path} is there already and is not overwritten; set evidence_path to another place")
        if not os.path.isdir(path.parent):
            raise DeployError(f"{path.parent} is no directory; set evidence_path to a place in one that is there")
        _collections[state] = _Collection(path)
    _collections[state].wanted.add(host)
    return str(_collections[state].path)


def _certificates(pems: str) -> str:
    """Path, names and dates of each certificate, of lines with a path followed by PEM."""
    parts = re.split(r"^(/\S+\.(?:crt|pem))\n", pems, flags=re.MULTILINE)
    return parts[0] + "".join(
        f"{path}\n{x509.described(pem)}\n" for path, pem in zip(parts[1::2], parts[2::2], strict=True)
    )


def _ask(host: Host) -> dict[str, str]:
    """What a host says; whatever goes wrong with it, the others' evidence must not be lost."""
    try:
        with gevent.Timeout(LIMIT):
            ok, out, error = run(host, script())
    except gevent.Timeout:
        return {NOT_COLLECTED: f"{host.name} did not answer within {LIMIT} s\n"}
    except Exception as wrong:
        return {NOT_COLLECTED: f"{host.name} can't be reached: {wrong}\n"}
    texts = answers(out)
    if CERTIFICATES in texts:
        texts[CERTIFICATES] = _certificates(texts[CERTIFICATES])
    if not ok or not texts:
        texts[NOT_COLLECTED] = f"{host.name} did not run the script to its end: {error or 'it said nothing'}\n"
    return texts


def _folder(name: str, used: set[str]) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "host"
    return safe if safe not in used else f"{safe}-{len(used)}"


def _members(collected: Mapping[Host, Mapping[str, str]]) -> dict[str, str]:
    """Path in the archive → text, redacted."""
    texts: dict[str, str] = {}
    folders: dict[str, str] = {}
    for host, files in collected.items():
        folder = _folder(host.name, set(folders))
        folders[folder] = (files.get(NOT_COLLECTED) or f"{len(files)} files").strip()
        texts |= {f"{folder}/{name}": text for name, text in files.items()}
    date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    hosts = "\n".join(f"{folder}: {what}" for folder, what in folders.items())
    texts["README.txt"] = _READ_ME.format(date=date, hosts=hosts)
    return {name: redacted(text) for name, text in texts.items()}


def _packed(members: Mapping[str, str], top: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in sorted(members.items()):
            data = text.encode(errors="replace")
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _collect(state: State, host: Host) -> bool:
    """Ask a host; the last one to answer asks those that could not be reached and writes the archive."""
    collection = _collections[state]
    collection.texts[host] = _ask(host)
    complete = NOT_COLLECTED not in collection.texts[host]
    if any(h in state.active_hosts and h not in collection.texts for h in collection.wanted):
        return complete
    nodes = [h for h in state.inventory if {"masters", "workers"} & set(h.groups)]
    lost = [h for h in nodes if h in state.failed_hosts and h not in collection.texts]
    for other, job in [(h, gevent.spawn(_ask, h)) for h in lost]:
        collection.texts[other] = job.get()
    in_order = {h: collection.texts[h] for h in state.inventory if h in collection.texts}
    path = collection.path
    try:
        with private_file(path) as file:
            file.write(_packed(_members(in_order), path.name.removesuffix(".gz").removesuffix(".tar")))
    except OSError as error:
        host.log_styled(f"{path} can't be written: {error.strerror}", fg="red", log_func=logger.error)
        return False
    for files in in_order.values():
        if NOT_COLLECTED in files:
            logger.warning("not complete: %s", files[NOT_COLLECTED].strip())
    logger.info("The evidence is in %s (mode 600). Read it before you give it away.", path)
    return complete


@operation
def evidence_collected(path: str) -> Commands:
    """
    Collect what this run's hosts say of themselves into one archive; nothing is changed on them.

    + path: of the archive, as :func:`archive_path` told it
    """
    say(f"Will ask this host for logs, versions and states, and write them into {path} on this machine (mode 600)")
    yield FunctionCommand(_collect, (), {})
