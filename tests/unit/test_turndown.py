"""Bringing up and turning down mirror each other: the order of the steps, and all that is made is taken away."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pytest

import deploys
from deploys import x509
from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel
from deploys.facts.leftovers import NODE_PATHS, Leftovers
from deploys.operations.files import File
from deploys.phases import PHASES, pki
from deploys.record import BEFORE_PATHS, DATA, ETCD_DATA, IMAGES, OWN_PLACES, PKI, RECORD, SUBNET_ENV
from deploys.x509 import Certificate

from . import machines
from .harness import Shell, Step, World, logged, plain
from .known import daemons, host_files, left
from .samples import lines
from .test_effects import BEFORE as FRESH

CA = x509.new_authority("kubernetes")
ADMIN = x509.issue(Certificate(f"{PKI}/admin", f"{PKI}/ca", "kubernetes-admin"), CA, 1)
PATHS = (RECORD, *NODE_PATHS, ETCD_DATA)
CONTENTS = {IMAGES: "reg/pause:3\n", f"{PKI}/ca.crt": CA.certificate, f"{PKI}/admin.crt": ADMIN.certificate}
EACH = pytest.mark.parametrize("name", ["m1", "w1"])
KEPT = {f"{path}{ending}" for path in pki.AUTHORITIES for ending in (".crt", ".key")} | {
    f"{pki.SERVICE_ACCOUNTS}.key", f"{pki.SERVICE_ACCOUNTS}.pub"}  # fmt: skip
"""What a first master keeps without purge_data: an etcd without its authority is lost."""

Plan = dict[str, Step | None]


def planned(entry: str, name: str, facts: Mapping[Any, Any], **data: Any) -> Plan:
    """``phase | operation`` → its first command, None where it has nothing to do; in the order of the run."""
    machine = {"docker_flags": "--bip=10.1.1.1/24"} if entry == "turndown" else {}
    platforms = {n: machines.found(n, f"10.0.0.{i}", **machine) for i, n in enumerate(("m1", "w1"), 11)}
    world = World(workers=["w1"], data=data, platforms=platforms, facts=dict(facts))
    with world.on(name) as host, logged():
        getattr(deploys, entry)()
        found: Plan = {}
        for key in host.op_hash_order:
            (title,) = world.state.op_meta[key].names
            first = next(iter(world.state.ops[host][key].command_generator()), None)
            found[title.partition(" | ")[2]] = None if first is None else plain(first)
    return found


def written(name: str) -> set[str]:
    """Every file that a bring-up writes."""
    steps = planned("cluster", name, FRESH).values()
    files = {path for step in steps if isinstance(step, Shell) and "tar -x" in step.text for path in step.written}
    # keys are made at run time only, so they are in no plan
    pairs = {c.path + ending for c in pki.wanted(World(workers=["w1"]).node(name)) for ending in (".crt", ".key")}
    return files | pairs | {SUBNET_ENV} | (KEPT if name == "m1" else {f"{pki.CA}.crt", f"{pki.ETCD_CA}.crt"})


def turned_down(name: str, files: set[str] | None = None, **data: Any) -> Plan:
    """The plan of a turndown where all that a bring-up makes is there, or these files."""
    there = {
        DaemonsFact: daemons(main={"images": {"reg/pause:3": "sha256:1"}}),
        HostFiles: host_files(*(File(path, CONTENTS.get(path, "x")) for path in sorted(files or written(name)))),
        Kernel: Kernel().process(lines("kernel-master")),
        Leftovers: left(
            paths=frozenset(PATHS) - (set() if name == "m1" else {ETCD_DATA}),
            chains=("nat KUBE-SERVICES", "nat FLANNEL-POSTRTG"),
            routes=("10.1.9.0/24 via 10.0.0.19 dev eth0",),
            rules=("filter -A DOCKER-USER -j ACCEPT",),
        ),
    }
    return planned("turndown", name, {**FRESH, **there}, **data)


def words(plan: Plan) -> set[str]:
    """All words of a plan's commands."""
    text = [step.text for step in plan.values() if isinstance(step, Shell)]
    return {word for command in text for word in shlex.split(command.replace(";", " ; "))}


@EACH
def test_phases_are_undone_in_the_reverse_of_their_order(name: str) -> None:
    order = [phase.TITLE for phase in PHASES]
    for plan, direction in ((planned("cluster", name, FRESH), 1), (turned_down(name, purge_data=True), -1)):
        places = [order.index(title.partition(" | ")[0]) * direction for title in plan]
        assert len(set(places)) > 6
        assert places == sorted(places)


def test_what_stands_on_something_goes_before_it() -> None:
    plan = [title.partition(" | ")[2] for title in turned_down("m1", purge_data=True)]
    order = [
        "Drain the node and delete it", "Remove static pods and kubeconfigs", "Remove the kubelet",
        "Remove the pods", "Remove Kubernetes' iptables chains", "Remove what the kubelet wrote",
        "Remove docker's drop-in", "Run the main Docker as before", "Remove images", "Remove flannel",
        "Remove flannel's link", "Give the node's subnet back", "Remove the recorded subnet", "Remove etcd",
        "Remove etcd's data", "Stop the bootstrap daemon", "Remove the bootstrap daemon's unit",
        "Remove the bootstrap daemon's bridge", "Remove the bootstrap daemon's images", "Remove certificates",
        "Put sysctls back", "Remove the record",
    ]  # fmt: skip
    assert [title for title in plan if title in order] == order


@EACH
def test_every_file_that_is_written_is_removed(name: str) -> None:
    files = written(name) - {BEFORE_PATHS}  # what removes directories reads it
    assert len(files) > 20
    purged = words(turned_down(name, purge_data=True))
    assert RECORD in purged
    assert files - purged == {IMAGES} | ({DATA} if name == "m1" else set())  # they go with the whole record
    stays = {SUBNET_ENV, IMAGES} | ({DATA, *KEPT} if name == "m1" else set())
    assert files - words(turned_down(name)) == stays


@EACH
def test_every_file_that_is_written_lies_where_a_foreign_one_is_noticed(name: str) -> None:
    assert [path for path in written(name) if not f"{path}/".startswith(tuple(f"{p}/" for p in OWN_PLACES))] == []


@EACH
def test_every_path_that_is_looked_for_is_removed_and_data_with_purge_data_only(name: str) -> None:
    data = {RECORD} | ({ETCD_DATA} if name == "m1" else set())
    there = set(PATHS) - ({ETCD_DATA} - data)
    assert there - words(turned_down(name, purge_data=True)) == set()
    assert there - words(turned_down(name)) == data


@EACH
def test_everything_else_that_is_there_of_us_is_taken_away(name: str) -> None:
    plan = turned_down(name, purge_data=True)
    idle = {title.partition(" | ")[2] for title, step in plan.items() if step is None}
    # the only master takes API and etcd along, so nobody is told
    assert idle == {
        "Drain the node and delete it",
        "Give the node's subnet back",
        "Start a main Docker that is down",
        "Start a bootstrap daemon that is down",
        "Say what stays",
        *(["Remove etcd's data"] if name == "w1" else []),
    }


@EACH
def test_a_turndown_of_what_is_gone_has_nothing_to_do(name: str) -> None:
    for data in ({}, {"purge_data": True}):
        plan = planned("turndown", name, FRESH, **data)
        assert {title: step for title, step in plan.items() if step is not None} == {}


def test_a_master_that_became_a_worker_is_turned_down_by_its_record() -> None:
    files = written("m1")
    assert files - words(turned_down("w1", files, purge_data=True)) == {IMAGES, DATA}
    kept = turned_down("w1", files)
    # the data stays, so its authority does
    assert files - words(kept) - {BEFORE_PATHS} == {SUBNET_ENV, IMAGES, DATA, *KEPT}
    assert kept["etcd | Remove etcd"] is not None
