"""Backups: a snapshot of etcd and what a new machine needs to use it, as one archive on the first master."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .. import transfer
from ..facts.backups import ABOUT, FORMAT, SNAPSHOT, STATUS, BackupFile
from ..facts.daemons import DaemonsFact
from ..facts.etcd import SEGMENT_MIB, TLS
from ..facts.files import Files, HostFiles
from ..observe import UnreadableError, observe
from ..operation import Commands, may_come, operation
from ..plan import fail, say, unknown
from ..record import BACKUPS, ETCD_CONTAINER, ETCD_DATA, PKI, SUBNET_ENV
from ..topology import Node
from .containers import docker

HOLDS = "it holds the authorities' keys and the cluster's Secrets"

# A container of etcd's own image beside it: the snapshot never lies where others can read it. Nothing is at
# the archive's place before it is whole and verified. Snapshot and archive lie there together, each at most as large as
# the database, and etcd's own disk, which may be the same one, is never filled.
TAKE = f"""set -e; umask 077; mkdir -p {BACKUPS}; chmod 700 {BACKUPS}; rm -rf {BACKUPS}/.new.*
need=$(($(stat -c %s {ETCD_DATA}/member/snap/db 2>/dev/null || echo 0) / 524288 + {SEGMENT_MIB}))
free=$(($(stat -f -c '%a * %S' {BACKUPS}) / 1048576))
[ $free -ge $need ] || {{ echo "the disk of {BACKUPS} has $free MiB free; a backup needs $need there" >&2; exit 1; }}
new=$(mktemp -d {BACKUPS}/.new.XXXXXX); trap 'rm -rf "$new"' EXIT
image=$({docker("bootstrap")} inspect -f '{{{{.Config.Image}}}}' {ETCD_CONTAINER})
tool() {{ {docker("bootstrap")} run --rm --net=host -v {PKI}/etcd:{PKI}/etcd:ro -v "$new":/backup "$image" "$@" \
2>"$new/log" || {{ tail -n 5 "$new/log" >&2; exit 1; }}; }}
tool etcdctl --endpoints https://127.0.0.1:2379 {TLS} snapshot save /backup/{SNAPSHOT} >/dev/null
tool etcdutl snapshot status /backup/{SNAPSHOT} -w json > "$new/{STATUS}"
printf '%s\\n' "$2" > "$new/{ABOUT}"; name=$1; shift 2
tar -czf "$new/archive" -C "$new" {ABOUT} {STATUS} -C / "$@" -C "$new" {SNAPSHOT}
chown 0:0 "$new/archive"; sync "$new/archive"; mv "$new/archive" "$name"
"""


def about(node: Node, found: Files, authorities: Sequence[str], taken: str) -> str:
    """What an archive says of itself: nothing of it is secret."""
    hashes = {path: hashlib.sha256(found.content(path).encode()).hexdigest() for path in authorities}
    # of the cluster, by the record: this run may have other settings
    recorded, wanted = node.found.record, node.settings
    return json.dumps(
        {
            "format": FORMAT,
            "node": node.joined_as,
            "address": recorded.get("address") or node.address,
            "kubernetes": recorded.get("kubernetes") or wanted.k8s_version,
            "network": node.found.flannel.get("FLANNEL_NETWORK") or wanted.flannel_network,
            "service_network": recorded.get("service_network") or wanted.service_network,
            "dns_server_ip": recorded.get("dns_server_ip") or wanted.dns_server_ip,
            "taken": taken,
            "authorities": hashes,
        }
    )


def destination(path: str, name: str) -> Path:
    """Where the control machine's copy goes: a new file, or one in that directory."""
    place = Path(path).expanduser()
    # the path's own is_dir() raises where it may not look
    return place / name if path.endswith("/") or os.path.isdir(place) else place


def _fetch(state: State, host: Host, path: str, place: Path) -> bool:
    try:
        transfer.fetch(host, path, place)
    except (OSError, ValueError) as error:
        host.log(f"{place} can't be written: {getattr(error, 'strerror', None) or error}")
        return False
    host.log(f"{place} is there: {HOLDS}")
    return True


def _is_there(state: State, host: Host, path: str) -> bool:
    try:
        found = observe(BackupFile, host, path=path)
    except UnreadableError as error:
        host.log(str(error))
        return False
    host.log(f"{path} is there: {found.described()}" if found.ours else f"{path} is not what it should be")
    return found.ours


@operation
def backup_taken(node: Node, authorities: Sequence[str], copy: str | None = None) -> Commands:
    """
    Take a snapshot of etcd, verify it, and pack it with the authorities into an archive. Each run makes one.

    + node: the first master
    + authorities: paths of the authorities' files
    + copy: a place on the control machine for a copy; what is there is never overwritten
    """
    found = observe(HostFiles)
    etcd = observe(DaemonsFact).bootstrap.containers.get(ETCD_CONTAINER)
    missing = [path for path in authorities if not found.ours(path)]
    if (missing or not etcd or not etcd.running) and may_come():
        say("Will take a backup, when the cluster is up")
        yield unknown("the cluster that this run brings up")
        return
    if not etcd or not etcd.running:
        yield fail(f"etcd does not run on {node.host.name}: run deploys/master.py first")
        return
    if missing:
        yield fail(f"{missing[0]} is not there: run deploys/master.py first")
        return
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    place = destination(copy, f"{node.name}-{stamp}.tar.gz") if copy else None
    if place and os.path.lexists(place):
        yield fail(f"{place} is there and is not overwritten; set backup_path to a new file or to a directory")
        return
    if place and not os.path.isdir(place.parent):
        yield fail(f"{place.parent} is no directory of this machine; make it, or set backup_path to another place")
        return
    files = [*authorities, *([SUBNET_ENV] if found.ours(SUBNET_ENV) else [])]
    say(
        f"Will take a snapshot of etcd, verify it and write {BACKUPS}/{node.name}-<UTC time>.tar.gz (mode 600); "
        "beside the snapshot it holds:",
        *files,
    )
    if place:
        shown = destination(str(copy), f"{node.name}-<UTC time>.tar.gz")
        say(f"Will copy it to {shown} on this machine (mode 600): {HOLDS}")
    path = f"{BACKUPS}/{node.name}-{stamp}.tar.gz"
    public = [f for f in authorities if f.endswith(".crt")]
    words = [path, about(node, found, public, stamp), *(f.lstrip("/") for f in files)]
    yield StringCommand(f"set -- {shlex.join(words)}; {TAKE.strip()}")
    yield FunctionCommand(_is_there, (path,), {})
    if place:
        yield FunctionCommand(_fetch, (path, place), {})
