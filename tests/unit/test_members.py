"""Nodes that left the inventory, machines that took the place of others, a master that is new under old workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from deploys import x509
from deploys.checks import members, ownership
from deploys.facts.files import HostFiles
from deploys.facts.kubernetes import ClusterNodes, NodeState
from deploys.operations.files import File
from deploys.phases.pki import CA

from . import machines
from .harness import World
from .known import host_files

MASTER = {"name": "m1", "role": "master", "address": "10.0.0.11"}
WORKER = {"name": "w1", "role": "worker", "address": "10.0.0.12"}
OLD = "0123456789abcdef0123456789abcdef"


UP: dict[str, dict[str, Any]] = {
    "m1": {"record": MASTER, "ca": "yes", "etcd_data": "yes"},
    "w1": {"record": WORKER, "ca": "yes", "subnet__env": "FLANNEL_SUBNET=10.1.2.1/24"},
}
"""What a node says of itself that is up."""


def world(
    nodes: dict[str, NodeState] | None, *, worker: bool = False, master: bool = True, lacks: Iterable[str] = ()
) -> World:
    """Hosts that are nodes or not, and what the API knows.

    :param lacks: what a node has not, like ``m1 ca``.
    """
    told = {
        name: machines.found(
            name,
            address,
            machine_id=machine_id * 32,
            **{key: value for key, value in UP[name].items() if up and f"{name} {key}" not in lacks},
        )
        for name, address, machine_id, up in (("m1", "10.0.0.11", "a", master), ("w1", "10.0.0.12", "b", worker))
    }
    return World(workers=["w1"], platforms=told, facts={ClusterNodes: nodes})


@pytest.mark.parametrize(("machine", "address"), [(OLD, "10.0.0.12"), ("b" * 32, "10.0.0.99")])
def test_a_machine_that_takes_the_name_of_one_at_work_is_refused(machine: str, address: str) -> None:
    here = world({"w1": NodeState(True, machine, address)})
    with here.on("w1"):
        said = str(members.name_is_free(here.node("w1")))
        assert members.takes_over(here.node("w1")) is None
    assert f"another machine ({address}, machine id {machine}) is the node w1 and is Ready" in said
    assert "kubectl delete node w1" in said


def test_a_machine_that_takes_the_place_of_one_that_is_gone_is_told_so() -> None:
    here = world({"w1": NodeState(False, OLD, "10.0.0.12")})
    with here.on("w1"):
        assert members.name_is_free(here.node("w1")) is None
        said = str(members.takes_over(here.node("w1")))
    assert OLD in said
    assert "its name, its subnet, its pods" in said


@pytest.mark.parametrize("here", [
    world({"w1": NodeState(True, OLD, "10.0.0.12")}, worker=True),
    world({"w1": NodeState(True, "b" * 32, "10.0.0.12")}),
    world({"m1": NodeState(True)}),
    world(None),
    world({"w1": NodeState(True, OLD)}, master=False),
], ids=["a node already", "the same machine, turned down", "a new node", "no answer", "no cluster yet"])  # fmt: skip
def test_other_machines_are_let_in_without_a_word(here: World) -> None:
    with here.on("w1"):
        assert members.name_is_free(here.node("w1")) is None
        assert members.takes_over(here.node("w1")) is None


def test_a_cluster_is_not_made_anew_under_workers_of_another() -> None:
    here = world(None, worker=True, master=False)
    for name in ("m1", "w1"):
        with here.on(name):
            said = str(members.master_is_theirs(here.node(name)))
        assert said.startswith("w1 belongs to a cluster of which the master m1 has neither authorities nor data")
        assert "deploys/restore.py" in said
    restored_by_half = world(None, worker=True, lacks=["m1 ca"])
    with restored_by_half.on("m1"):
        assert members.master_is_theirs(restored_by_half.node("m1")) is not None
    # a restore that ended then, or a disk that is not mounted
    without_data = world(None, worker=True, lacks=["m1 etcd_data"])
    with without_data.on("m1"):
        said = str(members.master_is_theirs(without_data.node("m1")))
    assert said.startswith("w1 belongs to a cluster of which the master m1 has no data: /var/lib/etcd is empty")
    # the first run ended before there were authorities, or before etcd ran
    begun = (
        world(None, worker=True, master=False, lacks=["w1 ca"]),
        world(None, worker=True, lacks=["m1 etcd_data", "w1 subnet__env"]),
    )
    for whole in (world(None, worker=True), world(None, master=False), *begun):
        with whole.on("m1"):
            assert members.master_is_theirs(whole.node("m1")) is None


@pytest.mark.parametrize(
    ("name", "state", "refused"),
    [
        ("m1", NodeState(True, "a" * 32, "10.0.0.12"), True),
        ("w7", NodeState(True, OLD, "10.0.0.12"), True),
        ("w7", NodeState(False, OLD, "10.0.0.12"), False),  # gone
        ("w7", NodeState(True, "b" * 32, "10.0.0.12"), True),  # of two machines that were made as copies
        ("w1", NodeState(True, OLD, "10.0.0.12"), False),  # name_is_free tells of it
        ("w7", NodeState(True, OLD, "10.0.0.99"), False),
    ],
)
def test_a_host_with_the_address_of_another_node_is_refused(name: str, state: NodeState, refused: bool) -> None:
    here = world({name: state})
    with here.on("w1"):
        said = members.address_is_free(here.node("w1"))
    assert (said is not None) is refused
    assert said is None or f"10.0.0.12, which is that of the node {name}; set another ip_address" in said


def test_nodes_that_left_the_inventory_are_told_with_what_to_do() -> None:
    nodes = {name: NodeState(True, "", "10.0.0.9") for name in ("m1", "w1", "runs")}
    nodes |= {"gone": NodeState(False), "nowhere": NodeState(True)}
    here = world(nodes)
    with here.on():
        found = members.strangers([here.node("m1"), here.node("w1")])
        assert set(found) == {"gone", "nowhere", "runs"}
        assert "kubectl delete node gone" in found["gone"]
        assert "put it (10.0.0.9) back" in found["runs"]
        assert "put it back" in found["nowhere"]
        assert "deploys/turndown.py" in found["runs"]
        # the host that was not asked may be that node
        assert members.strangers([here.node("m1")]) == {}


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        ((File(f"{CA}.crt", "theirs"), File(f"{CA}.key", "")), True),
        ((File(f"{CA}.crt", "ours"), File(f"{CA}.key", "")), False),  # of this cluster, whose master it was
        ((File(f"{CA}.crt", "theirs"),), False),  # a worker's copy
        ((), False),
    ],
)
def test_what_a_host_keeps_of_another_cluster_is_not_overwritten(files: tuple[File, ...], refused: bool) -> None:
    here = world(None)
    here.facts = {(HostFiles, "m1"): host_files(File(f"{CA}.crt", "ours")), (HostFiles, "w1"): host_files(*files)}
    with here.on("w1"):
        said = ownership.keeps_no_other_authority(here.node("w1"))
        assert ownership.keeps_no_other_authority(here.node("m1")) is None
    assert (said is not None) is refused
    assert said is None or f"{CA}.crt" in said


OURS, THEIRS = (x509.new_authority("kubernetes").certificate for _ in range(2))


@pytest.mark.parametrize(
    ("have", "record", "refused"),
    [
        (THEIRS, WORKER, True),
        (THEIRS, None, False),  # it was one, and is none any more
        (OURS, WORKER, False),
        (OURS + "\n", WORKER, False),  # somebody edited it
        ("garbage", WORKER, False),
        ("", WORKER, False),
    ],
)
def test_a_node_at_work_in_another_cluster_is_not_taken_over(
    have: str, record: dict[str, str] | None, refused: bool
) -> None:
    here = world(None, worker=record is not None)
    here.facts = {
        (HostFiles, "m1"): host_files(File(f"{CA}.crt", OURS)),
        (HostFiles, "w1"): host_files(File(f"{CA}.crt", have)),
    }
    with here.on("w1"):
        said = ownership.keeps_no_other_authority(here.node("w1"))
    assert (said is not None) is refused
    assert said is None or "is a node of another cluster" in said
