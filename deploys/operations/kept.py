"""What a turndown leaves on a host, and why: said in its plan, changed by nothing."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import host

from ..facts.files import HostFiles
from ..facts.kernel import Kernel
from ..facts.leftovers import Leftovers
from ..observe import observe
from ..operation import Commands, operation
from ..plan import say
from ..record import BACKUPS, ETCD_DATA, RECORD, SUBNET_ENV
from .files import NEW


@operation
def kept(data: tuple[str, ...], purge: bool) -> Commands:
    """
    Say what stays on the host, and why; nothing is changed.

    + data: files of ours that are data: they go with ``purge_data`` only
    + purge: whether they go
    """
    lines = [*([] if purge else _data(data)), *_foreign(), *_modules()]
    if lines:
        say("Will leave:", *lines)
    host.noop("this only says what stays")
    yield from ()


def _data(paths: tuple[str, ...]) -> Iterator[str]:
    """What a new install goes on with."""
    files, left = observe(HostFiles), observe(Leftovers)
    if ETCD_DATA in left.paths:
        yield f"{ETCD_DATA}: the cluster's objects"
    for path in paths:
        if files.ours(path):
            yield f"{path}: without it nobody could read those objects"
    if files.ours(SUBNET_ENV):
        yield f"{SUBNET_ENV}: the node's subnet, kept for it"
    if left.backups:
        yield f"{BACKUPS}: {len(left.backups)} backups"
    if files.files:
        yield "images of the main Docker: a new install need not pull or build them again"
        yield "purge_data=true removes these too"


def _foreign() -> Iterator[str]:
    for path, state in sorted(observe(HostFiles).files.items()):
        if not state.ours and not path.startswith(f"{RECORD}/") and not path.endswith(f"/{NEW}"):
            yield f"{path}: not written by docker-multinode"


def _modules() -> Iterator[str]:
    kernel = observe(Kernel)
    for module in sorted(kernel.modules):
        if kernel.before.get(f"module {module}") == "absent":
            yield f"kernel module {module}: others may use it by now; it is not loaded at the next boot"
