"""A kubeconfig for people, on the control machine. It and a backup's copy are the secrets that leave the hosts."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml
from pyinfra import host
from pyinfra.api import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from ..facts.files import HostFiles
from ..observe import observe
from ..operation import Commands, may_come, operation
from ..plan import fail, say, unknown
from ..private import private_file
from ..record import PKI
from ..remote import pem
from ..render import render

ADMIN = "kubernetes-admin"
"""Who a fetched kubeconfig is for, as kubeadm calls him."""


FOREIGN = "it is not of this cluster"
"""Why a file is never overwritten; any other reason is one to write it."""


def _field(config: object, *keys: str | int) -> str:
    for key in keys:
        try:
            config = config[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return ""
    return str(config)


def _count(config: object, kind: str) -> int:
    found = config.get(kind) if isinstance(config, dict) else None
    return len(found) if isinstance(found, list) else 0


def _why_not(text: str, ca: str, certificate: str, server: str) -> str | None:
    """Why a kubeconfig at the desired place is not the desired one."""
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # a date that is none, a key that is a list
        return FOREIGN
    if any(_count(config, kind) != 1 for kind in ("clusters", "contexts", "users")):
        return FOREIGN  # others were merged into it
    if _field(config, "clusters", 0, "cluster", "certificate-authority-data") != _data(ca):
        return FOREIGN
    if _field(config, "clusters", 0, "cluster", "server") != server:
        return f"it names the server {_field(config, 'clusters', 0, 'cluster', 'server')}"
    if _field(config, "users", 0, "user", "client-certificate-data") != _data(certificate):
        return "its certificate has been renewed since"
    return None


def _reason(place: Path, ca: str, certificate: str, server: str) -> str | None:
    if not place.exists() and not place.is_symlink():
        return "it is not there"
    text = place.read_text(errors="replace") if place.is_file() else ""
    reason = _why_not(text, ca, certificate, server)
    return "others can read it" if reason is None and place.stat().st_mode & 0o077 else reason


def _data(text: str) -> str:
    return base64.b64encode((text.strip() + "\n").encode()).decode()


def _write(state: State, host: Host, path: Path, ca: str, certificate: str, server: str) -> bool:
    key = pem(host, f"{PKI}/admin.key")
    if not key:
        host.log(f"{PKI}/admin.key can't be read")
        return False
    text = render(
        "kubernetes/kubeconfig-embedded.yaml.j2",
        ca=_data(ca),
        server=server,
        user=ADMIN,
        certificate=_data(certificate),
        key=_data(key),
    )
    try:
        with private_file(path, replace=True) as file:
            file.write(text.encode())
    except OSError as error:
        host.log(f"{path} can't be written: {error.strerror}")
        return False
    return True


@operation
def kubeconfig_fetched(path: str, server: str) -> Commands:
    """
    Ensure that the control machine has a kubeconfig of the administrator, with mode 0600.

    + path: where, on the control machine; a file that is not of this cluster is never overwritten
    + server: URL of the apiserver
    """
    found = observe(HostFiles)
    ca, certificate = found.content(f"{PKI}/ca.crt"), found.content(f"{PKI}/admin.crt")
    if (not ca or not certificate) and may_come():
        say(f"Will write {path} on this machine (mode 600, user {ADMIN}, server {server}), when the cluster is up")
        yield unknown("the certificate that this run issues")
        return
    if not ca or not certificate:
        yield fail(f"{PKI}/admin.crt is not there: run deploys/master.py first")
        return
    place = Path(path).expanduser()
    try:
        reason = _reason(place, ca, certificate, server)
    except OSError as error:
        yield fail(f"{place} can't be read: {error.strerror}; set kubeconfig_path to another place")
        return
    if not place.parent.is_dir():
        yield fail(f"{place.parent} is no directory of this machine; make it, or set kubeconfig_path to another place")
        return
    if reason == FOREIGN:
        yield fail(
            f"{place} is there and is not of this cluster; move it away, or set kubeconfig_path to another place"
        )
        return
    if reason is None:
        host.noop(f"{place} is up to date")
        return
    say(f"Will write {place} on this machine (mode 600, user {ADMIN}, server {server}), because {reason}")
    yield FunctionCommand(_write, (place, ca, certificate, server), {})
