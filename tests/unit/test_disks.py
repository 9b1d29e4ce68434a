"""Full disks: named with what is left and what to do; nothing is begun that they have no room for."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.checks import disks
from deploys.facts.daemons import DaemonsFact
from deploys.facts.found import Disk

from . import machines
from .harness import World
from .known import daemons

RECORD = {"name": "m1", "role": "master", "address": "10.0.0.11"}
ETCD, DOCKER, BOOTSTRAP = "/var/lib/etcd", "/var/lib/docker", "/var/lib/bootstrap-docker"


def rows(*disks: tuple[str, int, int], inodes: str = "9 9000") -> str:
    """What the host says of places: device, KiB, free KiB, inodes, free ones, path."""
    return "\n".join(f"{number} {mib * 1024} {free * 1024} {inodes} {path}" for number, (path, mib, free) in
                     enumerate(disks))  # fmt: skip


def one(*places: str, free: int) -> str:
    """Several places on one disk."""
    return "\n".join(f"7 9000000 {free * 1024} 9 9000 {path}" for path in places)


UP: dict[str, dict[str, Any]] = {
    "main": {"images": {"registry.k8s.io/kube-proxy:v1.37.2": "1"}},
    "bootstrap": {"images": {"ghcr.io/flannel-io/flannel:v0.28.10": "2"}},
}
"""What the daemons of a node have."""


def world(
    told: str,
    record: dict[str, str] | None = None,
    name: str = "m1",
    have: dict[str, dict[str, Any]] | None = None,
    **data: Any,
) -> World:
    """A master and a worker, one of them with these disks.

    :param have: what its daemons say; else a node's have what it needs.
    """
    machine: dict[str, Any] = {"record": record} if record else {}
    found = machines.found(name, {"m1": "10.0.0.11", "w1": "10.0.0.12"}[name], disks=told, **machine)
    of = have or (UP if record else {})
    said = daemons("daemons-fresh", main=of.get("main"), bootstrap=of.get("bootstrap"))
    return World(workers=["w1"], platforms={name: found}, data=data, facts={DaemonsFact: said})


def sentences(told: str, record: dict[str, str] | None = RECORD, name: str = "m1") -> list[str]:
    """What is said of full disks."""
    here = world(told, record, name)
    with here.on(name):
        return list(disks.full(here.node(name)))


def refused(
    told: str,
    record: dict[str, str] | None = None,
    name: str = "m1",
    have: dict[str, dict[str, Any]] | None = None,
    **data: Any,
) -> str | None:
    """What a run says to them."""
    here = world(told, record, name, have, **data)
    with here.on(name):
        return disks.room(here.node(name))


@pytest.mark.parametrize(("image", "need"), [(None, 4000), ("r/node:1", 2000)])
def test_a_host_that_compiles_needs_more_room(image: str | None, need: int) -> None:
    told = one(DOCKER, BOOTSTRAP, ETCD, free=1999)
    here = world(told, node_image=image)
    here.platforms["m1"] = machines.found("m1", "10.0.0.11", disks=told, machine="ppc64le")
    with here.on("m1"):
        said = disks.room(here.node("m1"))
    assert said
    assert int(said.split()[-2]) == need + 142


def test_what_df_says_is_read() -> None:
    found = machines.found(disks="7 2048 1024 0 0 /a b\n8 x 1 1 1 /c\n9 1 1 /d\n9 1 1 4 - /e").disks
    assert found == {"/a b": Disk("7", 2, 1, None), "/e": Disk("9", 0, 0, 0)}


def test_a_full_disk_is_named_with_what_is_left_and_what_to_do() -> None:
    (sentence,) = sentences(rows((ETCD, 200, 0), (DOCKER, 9000, 9000)))
    assert sentence == (
        "the disk of /var/lib/etcd is full: 0 of 200 MiB are free; make room there (etcd then goes on by itself)"
    )


def test_a_disk_without_inodes_is_full() -> None:
    (sentence,) = sentences(rows((DOCKER, 9000, 9000), inodes="900 3"))
    assert "is full: 3 inodes are free" in sentence
    assert sentences(rows((DOCKER, 9000, 9000), inodes="0 0")) == []  # btrfs does not count them


def test_places_on_one_full_disk_are_one_sentence() -> None:
    assert len(sentences(one(ETCD, DOCKER, BOOTSTRAP, free=9))) == 1


def test_a_worker_has_no_etcd_to_run_full() -> None:
    assert sentences(rows((ETCD, 200, 0)), {**RECORD, "role": "worker"}, "w1") == []


@pytest.mark.parametrize(("told", "record", "says"), [
    (one(DOCKER, BOOTSTRAP, ETCD, free=1800), None, "1800 MiB free; an install as master needs 2142 there"),
    (one(DOCKER, BOOTSTRAP, ETCD, free=2200), None, None),
    (rows((DOCKER, 9000, 1400), (BOOTSTRAP, 9000, 9000)), None, "of /var/lib/docker has 1400 MiB free"),
    (rows((DOCKER, 9000, 1600), (BOOTSTRAP, 9000, 100)), None, "of /var/lib/bootstrap-docker has 100 MiB free"),
    (one(DOCKER, BOOTSTRAP, ETCD, free=100), RECORD, None),
    (one(DOCKER, BOOTSTRAP, ETCD, free=63), RECORD, "is full: 63 of"),
])  # fmt: skip
def test_a_run_begins_only_where_it_can_end(told: str, record: dict[str, str] | None, says: str | None) -> None:
    found = refused(told, record)
    assert (found is None) == (says is None)
    assert says is None or says in str(found)


OTHER: dict[str, dict[str, Any]] = {
    "main": {"images": {"registry.k8s.io/kube-proxy:v1.37.1": "1"}},
    "bootstrap": {"images": {"ghcr.io/flannel-io/flannel:v0.28.9": "2"}},
}
DOWN: dict[str, dict[str, Any]] = {daemon: {"images": {}, "down": True} for daemon in UP}


@pytest.mark.parametrize(("main", "bootstrap", "have", "says"), [
    (1400, 9000, {**UP, "main": OTHER["main"]}, "has 1400 MiB free; an install as master needs 1500 there"),
    (1600, 100, {**UP, "main": OTHER["main"]}, None),
    (100, 400, {**UP, "bootstrap": OTHER["bootstrap"]}, "of /var/lib/bootstrap-docker has 400 MiB free"),
    (100, 460, {**UP, "bootstrap": OTHER["bootstrap"]}, None),
    (100, 400, {"main": UP["main"]}, "of /var/lib/bootstrap-docker"),  # a first run ended before there was one
    (100, 100, DOWN, None),  # what they have is not known
    (63, 100, DOWN, "is full: 63 of"),
])  # fmt: skip
def test_a_node_needs_room_for_the_images_of_another_version(
    main: int, bootstrap: int, have: dict[str, dict[str, Any]], says: str | None
) -> None:
    found = refused(rows((DOCKER, 9000, main), (BOOTSTRAP, 9000, bootstrap)), RECORD, have=have)
    assert (found is None) == (says is None)
    assert says is None or says in str(found)


def test_an_image_is_there_also_by_the_short_name_that_docker_gives_it() -> None:
    have: dict[str, dict[str, Any]] = {
        "main": {"images": {"mine/kube-proxy:v1.37.2": "1"}},
        "bootstrap": {"images": {"mine/flannel-io/flannel:v0.28.10": "2"}},
    }
    told = rows((DOCKER, 9000, 100), (BOOTSTRAP, 9000, 100))
    assert refused(told, RECORD, have=have, image_registry="docker.io/mine") is None
    assert refused(told, RECORD, have=have, image_registry="docker.io/theirs") is not None
