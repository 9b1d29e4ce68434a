"""The catalogue: each release is whole, and only what is in it is found."""

from __future__ import annotations

import re

import pytest
from packaging.version import Version

from deploys import static_pods
from deploys.phases import addons, etcd, flannel
from deploys.phases import node as node_phase
from deploys.releases import RELEASES, Release, find, known_versions, newest

from .harness import World

EACH = pytest.mark.parametrize("release", RELEASES, ids=lambda r: r.minor)


@EACH
def test_each_release_has_all_that_belongs_to_it(release: Release) -> None:
    assert release.patches == tuple(sorted(set(release.patches)))
    assert release.arches
    for tag in (
        release.etcd,
        release.coredns,
        release.pause,
        release.flannel,
        release.metrics_server,
        release.headlamp,
    ):
        assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-\d+)?", tag), tag
    assert all(re.fullmatch(r"[0-9a-f]{64}", s) for s in release.cri_dockerd.sha256.values())
    assert set(release.cri_dockerd.sha256) <= set(release.arches)
    assert Version(release.docker_api) >= Version("1.44")


@EACH
def test_each_release_gives_every_image_a_registry_and_a_tag(release: Release) -> None:
    node = World(data={"k8s_version": f"v{release.minor}.{release.patches[-1]}"}).node()
    images = [etcd.image(node), flannel.image(node), static_pods.pause(node), *addons.images(node.settings).values(),
              *(static_pods.component_image(node, name) for name in static_pods.MASTER_PODS)]  # fmt: skip
    for image in images:
        assert re.fullmatch(r"(registry\.k8s\.io|ghcr\.io)/[a-z0-9./-]+:[\w.-]+", image), image
    assert len(set(images)) == len(images)
    assert f"v{release.minor}.{release.patches[-1]}" in node_phase.dockerfile(node)


def test_releases_are_in_order_and_the_default_is_the_newest() -> None:
    assert [r.minor for r in RELEASES] == sorted((r.minor for r in RELEASES), key=Version)
    last = RELEASES[-1]
    assert newest() == f"v{last.minor}.{last.patches[-1]}"
    assert find(newest()) is last


def test_the_pairs_are_kubeadms() -> None:
    pairs = {r.minor: (r.etcd, r.coredns, r.pause) for r in RELEASES}
    assert pairs["1.34"] == ("3.6.5-0", "v1.12.1", "3.10.1")
    assert pairs["1.35"] == ("3.6.6-0", "v1.13.1", "3.10.1")
    assert pairs["1.36"] == ("3.6.8-0", "v1.14.2", "3.10.2")
    assert pairs["1.37"] == ("3.7.0-0", "v1.14.6", "3.10.2")


def test_kubelets_from_1_36_on_do_not_stream_by_websocket() -> None:
    for release in RELEASES:
        without = release.kubelet.get("featureGates") == {"ExtendWebSocketsToKubelet": False}
        assert without == (Version(release.minor) >= Version("1.36"))


@pytest.mark.parametrize("version", ["v1.33.0", "v1.37.99", "v2.0.0", "v0.0.0", "v1.3.7"])
def test_what_the_catalogue_has_not_is_not_found(version: str) -> None:
    assert find(version) is None


def test_known_versions_name_first_and_last_of_each_minor() -> None:
    assert known_versions().startswith("v1.34.0 to v1.34.")
    assert known_versions().count(" to ") == len(RELEASES)
