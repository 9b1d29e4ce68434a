"""Room on the disks: for etcd, for both Dockers, for what a run writes."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts.daemons import DaemonsFact
from ..facts.etcd import SEGMENT_MIB
from ..facts.found import Disk
from ..observe import observe
from ..phases import flannel
from ..record import BOOTSTRAP_DATA, ETCD_DATA, KUBELET, RECORD
from ..static_pods import component_image
from ..topology import Node

LEAST_MIB = SEGMENT_MIB
"""With less than this a place is full."""
LEAST_INODES = 500
INSTALL_MIB = {"main": {"master": 1500, "worker": 1500}, "bootstrap": {"master": 450, "worker": 350}}
"""What images take, by daemon and role: those of a first install took 1020, 1082, 344 and 288 in the lab, and they are
unpacked or built there. Those of another version lie beside them."""

COMPILE_MIB = 2000
"""What Docker's disk gets besides where cri-dockerd is compiled: Go's image, the source, what is built. An estimate: it
has not run on such a machine."""


def _lacking(node: Node) -> set[str]:
    """The daemons that have not got the images of the desired version, by the one that each node needs there."""
    of = {"main": component_image(node, "kube-proxy"), "bootstrap": flannel.image(node)}
    daemons = observe(DaemonsFact, node.host)
    return {daemon for daemon, image in of.items() if daemons.of(daemon).missing([image])}


def _places(node: Node) -> dict[str, tuple[int, str]]:
    """Path → MiB that a run needs there, and what to do where they are missing."""
    lacking, daemons = _lacking(node), observe(DaemonsFact, node.host)
    fresh = not node.found.record and "main" in lacking
    # of a node's daemon that is down it is not known what it has
    gets = {d for d in INSTALL_MIB if fresh or (d in lacking and not daemons.of(d).down)}
    need = {daemon: roles[node.role] if daemon in gets else LEAST_MIB for daemon, roles in INSTALL_MIB.items()}
    if need["main"] > LEAST_MIB and not node.settings.node_image and node.arch not in node.release.cri_dockerd.sha256:
        need["main"] += COMPILE_MIB
    etcd = {ETCD_DATA: (LEAST_MIB * 3 if fresh else LEAST_MIB, "etcd then goes on by itself")}
    return {
        **(etcd if node.is_first_master else {}),
        node.docker_root: (need["main"], "docker system df tells what Docker keeps there"),
        BOOTSTRAP_DATA: (need["bootstrap"], "etcd and flannel run from there"),
        RECORD: (LEAST_MIB, "the node's record and backups are there"),
        KUBELET: (LEAST_MIB, "pods' volumes are there"),
    }


def _few(disk: Disk) -> bool:
    return disk.inodes is not None and disk.inodes < LEAST_INODES


def full(node: Node) -> Iterator[str]:
    """A sentence for each disk on which nothing can be written any more, with what to do."""
    told = set()
    for path, (_, advice) in _places(node).items():
        disk = node.found.disks.get(path)
        if disk is None or disk.device in told or not (disk.free_mib < LEAST_MIB or _few(disk)):
            continue
        told.add(disk.device)
        left = f"{disk.inodes} inodes" if _few(disk) else f"{disk.free_mib} of {disk.size_mib} MiB"
        yield f"the disk of {path} is full: {left} are free; make room there ({advice})"


def room(node: Node) -> str | None:
    """The disks have room for what a run writes; images of one disk are counted together."""
    if sentence := next(full(node), None):
        return sentence
    needs = {path: need for path, (need, _) in _places(node).items() if need > LEAST_MIB}
    return node.found.crowded(needs, f"an install as {node.role}")
