"""The bootstrap daemon: enabled, started and restarted by the host's restart strategy, and taken away."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import StringCommand

from ..facts.daemons import DaemonsFact
from ..facts.files import HostFiles
from ..facts.leftovers import Leftovers
from ..observe import observe
from ..operation import Commands, operation, removal
from ..plan import say
from ..platforms import RestartStrategy
from ..record import BOOTSTRAP, BOOTSTRAP_DATA
from .files import File, unread
from .restarts import REVISION, or_evidence

NAMESPACES = ("dmboot", "dmbootp")
"""Of the bootstrap daemon in the host's containerd; short, for they are part of socket paths."""
# with live-restore containers outlive their daemon
_NO_TASKS = (
    f"! command -v ctr >/dev/null || for n in {' '.join(NAMESPACES)}; do for t in $(timeout 20 ctr -n $n tasks ls -q); "
    "do timeout 20 ctr -n $n tasks kill $t; i=0; while [ $((i+=1)) -le 50 ] && timeout 20 ctr -n $n tasks ls | "
    'grep -q "^$t .*RUNNING"; do sleep 0.2; done; timeout 20 ctr -n $n tasks rm -f $t; done; '
    "timeout 20 ctr -n $n containers ls -q | xargs -r timeout 20 ctr -n $n containers rm; done >/dev/null 2>&1"
)
# dockerd leaves leases and manifests there, with containerd's image store also images, and a namespace that is not
# empty stays; --sync waits until what only the images held is gone, snapshots too
_NO_NAMESPACES = (
    f"! command -v ctr >/dev/null || for n in {' '.join(NAMESPACES)}; do timeout 20 ctr -n $n leases ls -q | "
    "xargs -r timeout 20 ctr -n $n leases rm; timeout 20 ctr -n $n images ls -q | "
    "xargs -r timeout 60 ctr -n $n images rm --sync; timeout 20 ctr -n $n content ls -q | "
    "xargs -r timeout 20 ctr -n $n content rm; timeout 20 ctr namespaces remove $n; done >/dev/null 2>&1"
)


@operation
def bootstrap_daemon(restart: RestartStrategy, revision: str, reads: Sequence[File] = ()) -> Commands:
    """
    Ensure that the bootstrap daemon is enabled and runs with its newest configuration.

    + restart: how, on this host
    + revision: hash of its configuration, which its unit puts into its environment
    + reads: its configuration: unit and file
    """
    now = observe(DaemonsFact)
    state = now.bootstrap
    news = unread(reads, now.bootstrap_started)
    stale = state.active and bool(
        news or state.forgotten or state.needs_reload or state.environment.get(REVISION) != revision
    )
    if state.active and state.enabled and not stale:
        host.noop("the bootstrap daemon runs as it should")
        return
    verb = "restart" if stale else "start" if not state.active else "enable"
    because = f", which reads {', '.join(news)} at its start" if stale and news else ""
    if state.forgotten:
        because = f", which lost {', '.join(state.forgotten)} when it started on a full disk"
    say(f"Will {verb} the bootstrap daemon{because} (its containers go on: live-restore)")
    yield StringCommand(
        f"{restart.reload} && {restart.enable.format(unit=BOOTSTRAP)} && "
        + or_evidence((restart.restart if stale else restart.start).format(unit=BOOTSTRAP), restart, BOOTSTRAP)
    )


def _bootstrap_is_there(unit: str) -> bool:
    return bool(observe(HostFiles).ours(unit)) or BOOTSTRAP_DATA in observe(Leftovers).paths


@operation
def bootstrap_daemon_started(restart: RestartStrategy, unit: str) -> Commands:
    """
    Ensure that the bootstrap daemon of a node runs, so that our containers can be taken out of it. If it does not
    come up, what it left running is ended.

    + restart: how, on this host
    + unit: path of its unit
    """
    if observe(DaemonsFact).bootstrap.active or not _bootstrap_is_there(unit):
        host.noop("the bootstrap daemon runs, or is not there")
        return
    say("Will start the bootstrap daemon, which is down, and then remove flannel and etcd, which only it knows")
    yield StringCommand(f"{restart.reload}; {restart.start.format(unit=BOOTSTRAP)} 2>/dev/null || {_NO_TASKS}")


@removal
def no_bootstrap_daemon(restart: RestartStrategy, unit: str) -> Commands:
    """
    Ensure that the bootstrap daemon is stopped and not enabled.

    + restart: how, on this host
    + unit: path of its unit; another one with this name is somebody else's
    """
    state = observe(DaemonsFact).bootstrap
    if not _bootstrap_is_there(unit):
        host.noop("the bootstrap daemon is not there")
        return
    say(
        f"Will stop and disable the bootstrap daemon, and remove its namespaces {', '.join(NAMESPACES)} in containerd"
        + ("" if state.active else " with what still runs in them")
    )
    yield StringCommand(
        f"{restart.stop.format(unit=BOOTSTRAP)}; {restart.disable.format(unit=BOOTSTRAP)}; "
        f"{_NO_TASKS}; {_NO_NAMESPACES}; "
        f"! {restart.active.format(unit=BOOTSTRAP)}"
    )
