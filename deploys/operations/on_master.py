"""What an operation does on the first master, on behalf of its host."""

from __future__ import annotations

from pyinfra.api import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from ..facts.daemons import DaemonsFact
from ..facts.etcd import EtcdSubnets
from ..facts.kubernetes import ClusterNodes
from ..observe import forget, observe
from ..record import ETCD_CONTAINER
from ..remote import run


def _on_master(state: State, host: Host, master: Host, command: str, doing: str) -> bool:
    ok, out, err = run(master, command)
    forget(master, EtcdSubnets, ClusterNodes)
    if not ok:
        host.log(f"{doing} on {master.name} failed: {(err or out).strip()}")
    return ok


def on_master(master: Host, command: str, doing: str) -> FunctionCommand:
    """A command to etcd or the API that is run on the first master; its failure is this host's."""
    return FunctionCommand(_on_master, (master, command, doing), {})


def etcd_is_silent(answers: bool, master: Host) -> bool:
    """Whether etcd should answer by now and does not, so that what it would say is unknown."""
    if answers:
        return False
    daemon = observe(DaemonsFact, master).bootstrap
    return daemon.down or ETCD_CONTAINER in daemon.containers
