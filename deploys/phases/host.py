"""Kernel modules and sysctls that the pod network needs, and who this node is."""

from __future__ import annotations

import json

from ..backends import BACKENDS
from ..facts.kernel import BOOT_SYSCTLS, MODULES, SYSCTLS
from ..operations.files import File, files, no_files
from ..operations.kept import kept
from ..operations.kernel import kernel, kernel_restored
from ..operations.leftovers import no_record, paths_recorded
from ..record import DATA, MODULES_FILE, NODE, SYSCTL_FILE
from ..topology import Node
from . import pki

TITLE = "host"

OF_DATA = ("kubernetes", "service_network", "dns_server_ip")
"""What etcd's data go with: they may outlive the node."""
_HEADER = "# Written by docker-multinode: the pod network needs this.\n"


def modules(node: Node) -> tuple[str, ...]:
    """The kernel modules that this node needs: none of another backend's."""
    others = {backend.module for backend in BACKENDS.values()} - {node.backend.module}
    return tuple(module for module in MODULES if module not in others)


def _files(node: Node) -> list[File]:
    who = {
        "name": node.name,
        "role": node.role,
        "address": node.address,
        "kubernetes": node.settings.k8s_version,
        "master": node.master_address,
        "service_network": node.settings.service_network,
        "dns_server_ip": node.settings.dns_server_ip,
    }
    data = File(DATA, json.dumps({key: who[key] for key in OF_DATA}) + "\n")
    return [
        *([data] if node.is_first_master else []),
        File(MODULES_FILE, _HEADER + "".join(f"{m}\n" for m in modules(node))),
        File(SYSCTL_FILE, _HEADER + "".join(f"{k} = {v}\n" for k, v in BOOT_SYSCTLS.items())),
        File(NODE, json.dumps(who, indent=1) + "\n"),
    ]


def apply(node: Node) -> None:
    """Load and set them now and at each boot."""
    paths_recorded(name="Record what was there before", there=node.found.there_before)
    kernel(name="Load modules and set sysctls", modules=modules(node), sysctls=SYSCTLS)
    files(name="Write modules, sysctls and the node's record", wanted=_files(node))


def remove(node: Node) -> None:
    """Put the sysctls back to what the record says, and say what stays."""
    data = tuple(pki.authority_files()) if pki.has_authorities(node) else ()
    kept(name="Say what stays", data=data, purge=node.settings.purge_data)
    no_files(name="Remove modules and sysctls for the next boot", paths=(MODULES_FILE, SYSCTL_FILE, NODE))
    proxied = (node.found.daemon_json or {}).get("userland-proxy") is not False
    kernel_restored(name="Put sysctls back", bridges=proxied)
    if node.settings.purge_data:
        no_record(name="Remove the record")
