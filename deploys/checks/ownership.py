"""Whose the authorities and data on the host are: nobody else's are overwritten or removed, ours are whole."""

from __future__ import annotations

from .. import x509
from ..facts.files import HostFiles
from ..observe import observe
from ..phases import pki
from ..record import BEFORE_PATHS, ETCD_DATA, PKI
from ..topology import Node


def foreign_kubernetes(node: Node) -> str | None:
    """Another installer's cluster is not overwritten."""
    if node.found.foreign_kubernetes:
        return (
            f"{node.found.foreign_kubernetes[0]} is there, and not from us: another Kubernetes seems to be "
            "installed; remove it first (kubeadm reset), or move that file away"
        )
    return None


def purges_no_other_kubernetes(node: Node) -> str | None:
    """What a turndown kept has the names that any Kubernetes gives its files: one that came since may have them now."""
    found = node.found.foreign_kubernetes
    if not node.settings.purge_data or not found or not observe(HostFiles, node.host).below(PKI):
        return None
    return (
        f"{found[0]} is there, and not from us: another Kubernetes seems to be installed, and purge_data would remove "
        "its authorities and data with what we kept; remove that one first (kubeadm reset), or move that file away"
    )


def keeps_no_other_authority(node: Node) -> str | None:
    """A worker gets the authorities of its cluster: those of another one are never overwritten, neither what a turndown
    kept, which is nowhere else, nor what a node at work has."""
    if node.is_first_master:
        return None
    mine, theirs = observe(HostFiles, node.host), observe(HostFiles, node.first_master)
    for path in pki.AUTHORITIES:
        certificate = f"{path}.crt"
        have, wanted = mine.content(certificate), theirs.content(certificate)
        if have in ("", wanted):
            continue
        if mine.ours(f"{path}.key"):
            return (
                f"was the master of another cluster and keeps that one's authorities and data; its {certificate} would "
                "be overwritten. Where they may be deleted: deploys/turndown.py with purge_data=true for this host"
            )
        if node.found.record and wanted and x509.is_authority(have) and not x509.same(have, wanted):
            return (
                f"is a node of another cluster: its {certificate} is not the one of {node.first_master.name}. Where "
                "that master was made anew by mistake, put its backup back (docs/backup.md); else turn this host down "
                "first"
            )
    return None


def etcd_has_its_authority(node: Node) -> str | None:
    """A cluster that has data keeps its authorities: new ones would lock out etcd's clients, nodes and pods."""
    if not node.is_first_master or not node.found.etcd_data:
        return None
    files = observe(HostFiles, node.host).files
    lost = next((path for path in pki.authority_files() if path not in files or not files[path].size), None)
    if lost is None:
        return None
    return (
        f"has etcd data in {ETCD_DATA}, but {lost}, without which they can't be used, is gone; put it back, from a "
        "backup if need be (docs/backup.md), or where nobody needs the data any more move them away"
    )


def etcd_data_are_ours(node: Node) -> str | None:
    """A restore puts its data in the place of the cluster's own, never of somebody else's: a turndown would leave what
    it then finds there as theirs."""
    before = (*node.found.there_before, *observe(HostFiles, node.host).content(BEFORE_PATHS).splitlines())
    if node.is_first_master and f"{ETCD_DATA}/member" in before:
        return f"has data in {ETCD_DATA}/member that were there before docker-multinode; move them away first"
    return None
