"""The catalogue: a Kubernetes version → the images, versions and settings that belong to it.

The pairing of etcd, CoreDNS and pause is kubeadm's of the same minor
(cmd/kubeadm/app/constants/constants.go). Only tags that exist upstream are named.

A new minor is a row here; the newest patch is what a cluster gets whose owner names no version. The tests run it: the
versions of what the lab builds are in tests/lab/catalogue.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.version import Version

SERVER_ARCHES = ("amd64", "arm64", "ppc64le")
"""An image that is published for every arch its release runs on is one manifest list upstream."""


@dataclass(frozen=True)
class CriDockerd:
    """cri-dockerd: upstream publishes no checksums and only some arches; the others are compiled."""

    version: str
    sha256: Mapping[str, str]
    """arch → checksum of upstream's archive; an arch that is missing here is built from source."""
    golang_image: str = "docker.io/library/golang:1.26-trixie"


@dataclass(frozen=True)
class Release:
    """What belongs to one Kubernetes minor."""

    minor: str
    patches: tuple[int, ...]
    etcd: str
    coredns: str
    pause: str
    flannel: str = "v0.28.10"
    metrics_server: str = "v0.9.0"
    headlamp: str = "v0.45.0"
    cri_dockerd: CriDockerd = field(
        default_factory=lambda: CriDockerd(
            "0.4.3",
            {
                "amd64": "c94c3d6de364a13375d8d7448e4c64f5cb12960fbb1cdd7ac708bece418e4dba",
                "arm64": "f1b693ca030f2809b789eacd3fc26ab5f6d85ab68ab184fa3c003572fafe3109",
            },
        )
    )
    base_image: str = "docker.io/library/debian:trixie-slim"
    arches: tuple[str, ...] = SERVER_ARCHES
    docker_api: str = "1.44"
    """Oldest Docker API that this release's cri-dockerd speaks (Docker 25)."""
    kubelet: Mapping[str, object] = field(default_factory=dict)
    """Fields of the KubeletConfiguration that only some minors know."""


_CGROUP_V1: Mapping[str, object] = {"failCgroupV1": False}
"""kubelet ≥ 1.35 refuses cgroup v1 unless told otherwise."""
_NO_WEBSOCKETS: Mapping[str, object] = {"featureGates": {"ExtendWebSocketsToKubelet": False}}
"""kubelet ≥ 1.36 streams exec over a websocket, which cri-dockerd 0.4.3 answers in plain HTTP (measured)."""

RELEASES: tuple[Release, ...] = (
    Release("1.34", tuple(range(14)), etcd="3.6.5-0", coredns="v1.12.1", pause="3.10.1"),
    Release("1.35", tuple(range(11)), etcd="3.6.6-0", coredns="v1.13.1", pause="3.10.1",
            kubelet=_CGROUP_V1),
    Release("1.36", tuple(range(7)), etcd="3.6.8-0", coredns="v1.14.2", pause="3.10.2",
            kubelet={**_CGROUP_V1, **_NO_WEBSOCKETS}),
    Release("1.37", tuple(range(3)), etcd="3.7.0-0", coredns="v1.14.6", pause="3.10.2",
            kubelet={**_CGROUP_V1, **_NO_WEBSOCKETS}),
)  # fmt: skip


def newest() -> str:
    """The default K8S_VERSION: the newest patch of the newest minor."""
    last = RELEASES[-1]
    return f"v{last.minor}.{last.patches[-1]}"


def known_versions() -> str:
    """The versions that exist, for a message: v1.34.0 to v1.34.13, …"""
    return ", ".join(f"v{r.minor}.{r.patches[0]} to v{r.minor}.{r.patches[-1]}" for r in RELEASES)


def minor_of(version: str) -> str:
    """v1.37.2 → v1.37."""
    return version.rsplit(".", 1)[0]


def find(version: str) -> Release | None:
    """The release of a version like ``v1.37.2``; None where the catalogue has none."""
    wanted = Version(version)
    for release in RELEASES:
        if release.minor == f"{wanted.major}.{wanted.minor}" and wanted.micro in release.patches:
            return release
    return None
