"""A backup put back: the archive on the host, the authorities where they are missing, etcd's data."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from .. import transfer
from ..facts.backups import SNAPSHOT, Backup, BackupFile
from ..facts.daemons import DaemonsFact
from ..facts.docker import of_system
from ..facts.etcd import ETCDCTL
from ..facts.files import HostFiles
from ..facts.leftovers import Leftovers
from ..observe import forget, observe
from ..operation import Commands, operation
from ..plan import fail, say
from ..record import ETCD_CONTAINER, ETCD_DATA, FLANNEL_CONTAINER, KUBELET_CONTAINER, RECORD
from ..topology import Node
from .containers import docker, restart_command
from .files import WRITE, foreign
from .wait import until

BUMP = 1_000_000_000
"""How far revisions jump at least: none that a watcher saw after the snapshot may come again."""
_BEGIN, _WRITES = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), 1000

# The files go from the archive to their places by the same script as all others: recorded, as root's.
LAY = f"""set -e; umask 077; a=$1; shift; laid=$(mktemp -d {RECORD}/.laid.XXXXXX); trap 'rm -rf "$laid"' EXIT
tar -xzpf "$a" -C "$laid" "$@"
find "$laid" -name '*.key' -exec chmod 600 {{}} +
tar -czf - -C "$laid" . | base64 | ( {WRITE.strip()}
)"""

# All that can fail comes before anything is stopped; what is then exchanged are names in one directory.
UNPACK = f"""set -e; umask 077; a=$1 image=$2; shift 2
t=$(mktemp -d {RECORD}/.restore.XXXXXX); trap 'rm -rf "$t"' EXIT
tar -xzf "$a" -C "$t" {SNAPSHOT}
mkdir -p {ETCD_DATA}; rm -rf {ETCD_DATA}/restored
{docker("bootstrap")} run --rm --net=none -v "$t":/backup -v {ETCD_DATA}:{ETCD_DATA} "$image" \
etcdutl snapshot restore /backup/{SNAPSHOT} --data-dir {ETCD_DATA}/restored "$@" >"$t/log" 2>&1 ||
{{ echo "etcdutl can't restore $a:" >&2; tail -n 5 "$t/log" >&2; rm -rf {ETCD_DATA}/restored; exit 1; }}
"""
EXCHANGE = f"""set -e; cd {ETCD_DATA}
aside=$1; while [ -e "$aside" ]; do aside=$aside-again; done
[ ! -d member ] || {{ mkdir -m 700 "$aside"; mv member "$aside/member"; }}
mv restored/member member; rm -rf restored"""


def bump(revision: object, now: dt.datetime) -> int:
    """How far revisions jump. Where the restored etcd begins follows the clock, a thousand revisions a second, so
    that a second restore of one snapshot begins beyond all that came after the first."""
    begin = int((now - _BEGIN).total_seconds()) * _WRITES
    return max(BUMP, begin - revision) if isinstance(revision, int) else begin


def _send(state: State, host: Host, place: Path, path: str) -> bool:
    try:
        transfer.send(host, place, path)
    except OSError as error:
        host.log(f"{place} can't be sent: {error}")
        return False
    forget(host)
    return True


@operation
def backup_sent(place: Path | None, path: str, backup: Backup) -> Commands:
    """
    Ensure that the archive lies on the host.

    + place: the archive on the control machine; None where it is on the host
    + path: where it is to lie, in a directory of root's
    + backup: what it says of itself
    """
    there = observe(BackupFile, path=path)
    if place is None or (there.ours and (there.about, there.status) == (backup.about, backup.status)):
        host.noop(f"{path} is there")
        return
    say(f"Will copy {place} from this machine to {path} (mode 600)")
    yield FunctionCommand(_send, (place, path), {})


@operation
def authorities_restored(path: str, members: Sequence[str]) -> Commands:
    """
    Ensure that the authorities and the node's subnet are there. What is there is never replaced.

    + path: the archive
    + members: paths of these files
    """
    found = observe(HostFiles)
    missing = [member for member in members if not found.ours(member)]
    if not missing:
        host.noop("the authorities and the node's subnet are there")
        return
    if taken := foreign(found, missing):
        yield fail(taken)
        return
    say(f"Will take from {path}:", *missing)
    yield StringCommand(f"set -- {shlex.join([path, *(m.lstrip('/') for m in missing)])}; {LAY}")


@operation
def etcd_restored(node: Node, path: str, backup: Backup, image: str, pods: Sequence[str], stamp: str) -> Commands:
    """
    Put the archive's snapshot in the place of etcd's data, which is moved aside. The control plane is stopped
    meanwhile, where it runs.

    + node: the first master
    + path: the archive
    + backup: what it says of itself
    + image: etcd's
    + pods: the static pods that use etcd
    + stamp: names the directory to which the present data goes
    """
    containers = observe(DaemonsFact)
    etcd = ETCD_CONTAINER in containers.bootstrap.containers
    kubelet = KUBELET_CONTAINER in containers.main.containers
    aside = f"{ETCD_DATA}/before-restore-{stamp}"
    say(f"Will restore etcd from {path}: {backup.described()}")
    if ETCD_DATA in observe(Leftovers).paths:
        say(f"Will move etcd's present data to {aside}; nothing removes it but a turndown with purge_data")
    if kubelet:
        say(f"Will stop the kubelet, {', '.join(pods)} and etcd for that, and start them again; other pods run on")
    peer = f"https://{node.address}:2380"
    flags = ("--name", node.name, "--initial-cluster", f"{node.name}={peer}", "--initial-advertise-peer-urls", peer,
             "--bump-revision", str(bump(backup.status.get("revision"), dt.datetime.now(dt.UTC))),
             "--mark-compacted")  # fmt: skip
    yield StringCommand(f"set -- {shlex.join([path, image, *flags])}; {UNPACK.strip()}")
    if kubelet:
        # the kubelet first: it would start the others again
        yield StringCommand(
            f"docker stop -t 20 {KUBELET_CONTAINER} >/dev/null; for p in {shlex.join(pods)}; do "
            f"docker ps -q {of_system('$p')}; done | xargs -r docker stop -t 20 >/dev/null"
        )
    if etcd:
        yield StringCommand(f"{docker('bootstrap')} stop -t 20 {ETCD_CONTAINER} >/dev/null")
    yield StringCommand(f"set -- {shlex.quote(aside.rsplit('/', 1)[1])}; {EXCHANGE}")
    if etcd:
        evidence = f"{docker('bootstrap')} logs --tail 20 {ETCD_CONTAINER}"
        wait = until("etcd to be healthy", f"{ETCDCTL} endpoint health", node.settings.timeout_for_services, evidence,
                     f"{docker('bootstrap')} logs {ETCD_CONTAINER}; the data that was there is in {aside}")  # fmt: skip
        yield StringCommand(f"{docker('bootstrap')} start {ETCD_CONTAINER} >/dev/null; {wait}")
    if kubelet:
        yield StringCommand(f"docker start {KUBELET_CONTAINER} >/dev/null")


@operation
def flannel_restarted() -> Commands:
    """
    Restart flannel where it runs. It watches etcd, which begins anew: flannel 0.28 then takes its own lease for
    one that ended, and sees no other node for minutes while it tries to delete its own routes.
    """
    have = observe(DaemonsFact).bootstrap.containers.get(FLANNEL_CONTAINER)
    if not have or not have.running:
        host.noop("flannel does not run")
        return
    say("Will restart flannel, which watches etcd; the pod network goes on meanwhile")
    yield StringCommand(restart_command("bootstrap", FLANNEL_CONTAINER))
