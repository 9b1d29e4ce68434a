"""What a restore needs: the archive that is meant, whether it fits this node, and its steps in order."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pyinfra.api import DeployError

from .facts.backups import Backup, BackupFile, local_backup
from .facts.daemons import DaemonsFact
from .facts.etcd import SEGMENT_MIB
from .facts.files import HostFiles
from .facts.sections import word
from .observe import observe
from .operations.images import pulled
from .operations.restore import authorities_restored, backup_sent, etcd_restored, flannel_restarted
from .phases import bootstrap, control_plane, etcd, host, pki, preflight
from .record import BACKUPS, ETCD_DATA, KUBELET_CONTAINER, RECORD, SUBNET_ENV
from .releases import minor_of
from .static_pods import MASTER_PODS
from .topology import Node

TITLE = "restore"


@dataclass(frozen=True)
class Archive:
    """The archive that is meant.

    :param path: where it lies on the host, or will.
    :param place: where it lies on the control machine; None where it is on the host.
    """

    path: str
    place: Path | None
    backup: Backup

    @property
    def would_be_purged(self) -> bool:
        """Whether a turndown with ``purge_data`` takes it away."""
        return self.place is None and self.path.startswith(f"{RECORD}/")


def archive_of(target: Node) -> Archive:
    """The archive that ``restore_from`` names: on the master, else on the control machine.

    :raises DeployError: there is none, it is not whole, or it is of another node or cluster.
    """
    wanted, name = target.settings.restore_from, target.host.name
    found = observe(BackupFile, path=wanted if wanted and wanted.startswith("/") else "/")
    have = f"; on {name} there are {', '.join(found.others)}" if found.others else ""
    if not wanted:
        raise DeployError(f"{name}: restore_from names no backup; write --data restore_from=PATH{have}")
    archive = Archive(wanted, None, found)
    if not found.there:
        place = Path(wanted).expanduser()
        local = local_backup(place)
        archive = Archive(f"{BACKUPS}/{local.about.get('node')}-{local.about.get('taken')}.tar.gz", place, local)
    if not archive.backup.there:
        raise DeployError(f"{name}: restore_from {wanted} is neither there nor on this machine{have}")
    if not archive.backup.ours:
        raise DeployError(f"{name}: restore_from {wanted} is not a backup of deploys/backup.py, or it is damaged{have}")
    if sentence := _why_not(target, archive):
        raise DeployError(f"{name}: restore_from {wanted} {sentence}")
    return archive


def _why_not(target: Node, archive: Archive) -> str | None:
    backup, about, found = archive.backup, archive.backup.about, observe(HostFiles)
    for key, mine, mend in (
        ("node", target.name, "set node_name"),
        ("address", target.address, "set ip_address, or give the host that address"),
        ("network", target.settings.flannel_network, "set flannel_network"),
        ("service_network", target.settings.service_network, "set service_network"),
        ("dns_server_ip", target.settings.dns_server_ip, "set dns_server_ip"),
    ):
        if about.get(key, mine if key in host.OF_DATA else None) != mine:  # older archives do not say all
            return f"is of a cluster whose master has the {key} {word(about.get(key))}, here it is {mine}; {mend}"
    minor, mine = minor_of(str(about.get("kubernetes"))), target.settings.k8s_version
    if minor != minor_of(mine):
        theirs = word(about.get("kubernetes"))
        return f"is of Kubernetes {theirs}, this is {mine}; set k8s_version to a {word(minor)} version"
    for path in (f"{authority}.crt" for authority in pki.AUTHORITIES):
        pem = found.content(path)
        if pem and hashlib.sha256(pem.encode()).hexdigest() != about["authorities"].get(path):
            keep = f"copy the archive to a place outside of {RECORD}, then " if archive.would_be_purged else ""
            return f"is of another cluster: its {path} is another; first {keep}turn this one down with purge_data=true"
    missing = [path for path in pki.authority_files() if path.lstrip("/") not in backup.members]
    return f"is damaged: {missing[0]} is not in it" if missing else _room(target, backup)


def _room(target: Node, backup: Backup) -> str | None:
    """The snapshot is unpacked, and data are made of it, before the present ones are moved aside."""
    size = backup.status.get("totalSize")
    need = (size >> 20) + SEGMENT_MIB if isinstance(size, int) else SEGMENT_MIB
    short = target.found.crowded({RECORD: need, ETCD_DATA: need}, "that")
    return f"can't be put back: {short}" if short else None


def check(target: Node) -> None:
    """Refuse what can't work. An etcd without its authority gets that from the archive.

    :raises DeployError: something can't work.
    """
    preflight.refuse(target, preflight.RESTORE_CHECKS)
    archive_of(target)


def authorities(target: Node) -> None:
    """The archive on the host, and from it what a new machine does not have."""
    archive = archive_of(target)
    backup_sent(name="Copy the backup to the host", place=archive.place, path=archive.path, backup=archive.backup)
    subnet = [SUBNET_ENV] if SUBNET_ENV.lstrip("/") in archive.backup.members else []
    authorities_restored(name="Restore the authorities", path=archive.path, members=[*pki.authority_files(), *subnet])


def data(target: Node) -> None:
    """etcd's data, then the control plane on it."""
    archive, image = archive_of(target), etcd.image(target)
    limit = target.settings.timeout_for_images
    pulled(name="Pull etcd", daemon="bootstrap", images=[image], limit=limit)
    restored = etcd_restored(
        name="Restore etcd",
        node=target,
        path=archive.path,
        backup=archive.backup,
        image=image,
        pods=MASTER_PODS,
        stamp=dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ"),
    )
    if KUBELET_CONTAINER in observe(DaemonsFact).main.containers:
        # the manifests are those of the last apply, a restore writes none
        control_plane.wait(target, control_plane.as_written(target), [restored])


def network(target: Node) -> None:
    """flannel on every node of the run, for it watches etcd."""
    flannel_restarted(name="Restart flannel")


STEPS = (
    (preflight.TITLE, check),
    (host.TITLE, host.apply),
    (TITLE, authorities),
    (bootstrap.TITLE, bootstrap.apply),
    (TITLE, data),
    (TITLE, network),
)
"""The last is for every node, the others for the first master. On a new machine deploys/cluster.py does the rest."""
