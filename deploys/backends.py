"""flannel's backend → what it needs of a host. Another backend is a row here."""

from __future__ import annotations

from dataclasses import dataclass

VXLAN_LINK = "flannel.1"


@dataclass(frozen=True)
class Backend:
    """How pods' packets travel between nodes (flannel's pkg/backend).

    :param overhead: bytes that it takes of each packet.
    :param link: the link that it makes, by which packets come in from other nodes; None where that is the node's own.
    :param module: the kernel module that it needs.
    :param udp_port: where a node gets packets from others.
    """

    overhead: int
    link: str | None = None
    module: str | None = None
    udp_port: int | None = None


BACKENDS: dict[str, Backend] = {
    "vxlan": Backend(overhead=50, link=VXLAN_LINK, module="vxlan", udp_port=8472),
    "host-gw": Backend(overhead=0),
}
LINKS = tuple(backend.link for backend in BACKENDS.values() if backend.link)
"""Of all backends: a node may have had another one before."""
