"""Objects and nodes: applied when they differ, deleted when their addon is gone, waited for when something changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys import busy
from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.kubernetes import KUBECTL, ClusterNodes, NodeState, Objects, ObjectsState, TakenFields
from deploys.managed_fields import Taken
from deploys.operations.files import File
from deploys.operations.kubernetes import node_ready, node_removed, objects, pods_network_verified
from deploys.record import NODE

from . import machines
from .harness import Calls, Meta, OnMaster, Shell, Step, World
from .known import daemons, host_files
from .test_scripts import program, sh

MANIFEST = "kind: Service\nmetadata: {name: a}\n"
APPLY = Shell(f"{KUBECTL} apply --server-side --field-manager=docker-multinode -f - >/dev/null", MANIFEST)
SAME = ObjectsState(True, (), "", (("coredns", "Service", "kube-system", "kube-dns"),))
EXTRA = ObjectsState(
    True, (), "", (("headlamp", "Service", "kube-system", "headlamp"), ("headlamp", "ClusterRole", "", "headlamp:a"))
)
CHANGED, UNCHANGED = Meta(True), Meta(False)


def put(state: ObjectsState, *, kubelet: bool = True) -> World:
    """A master whose API says this."""
    found = daemons() if kubelet else daemons("daemons-fresh")
    return World(facts={Objects: state, DaemonsFact: found})


def test_objects_that_are_as_they_should_be_are_left_alone() -> None:
    here = put(SAME)
    assert here.run(objects, manifest=MANIFEST, addons=("cluster", "coredns"), limit=9) == []


def test_objects_that_differ_are_applied_by_the_server_without_force_and_the_plan_shows_the_diff() -> None:
    here = put(ObjectsState(True, ("-  a: 1", "+  a: 2"), "", ()))
    assert here.run(objects, manifest=MANIFEST, addons=("cluster",), limit=9) == [APPLY]
    said = here.says(objects, manifest=MANIFEST, addons=("cluster",), limit=9)
    assert "Will change objects (kubectl diff):" in said
    assert "+  a: 2" in said
    assert "--force" not in APPLY.text


def test_an_api_that_does_not_answer_is_waited_for_after_what_may_keep_it_from_that() -> None:
    here = put(ObjectsState(False, (), "refused", ()))
    step = here.run(objects, manifest=MANIFEST, addons=("cluster",), limit=9, first="unstick")[0]
    assert isinstance(step, Shell)
    assert step.text.startswith("unstick; ")
    assert "get --raw /readyz" in step.text


DEPLOYMENT = """\
kind: Deployment
metadata: {name: a, namespace: n}
spec: {replicas: 2, paused: false}
"""
LEFT = """\
kind: Service
metadata:
  name: a
---
kind: Deployment
metadata:
  name: a
  namespace: n
spec:
  paused: false
"""


def taken(rest: ObjectsState) -> World:
    """A master on which somebody scaled the deployment; and what the API says of the rest."""

    class Both(dict[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            first = not self.seen and key is Objects
            self.seen = self.seen or first
            return ObjectsState(False, (), "conflict", (), taken=True) if first else super().__getitem__(key)

        seen = False

    facts = {Objects: rest, DaemonsFact: daemons(), TakenFields: {1: (Taken("kubectl", ".spec.replicas"),)}}
    return World(facts=Both(facts))


def test_a_field_that_somebody_else_has_set_is_named_and_left() -> None:
    both = f"{MANIFEST}---\n{DEPLOYMENT}"
    assert taken(SAME).run(objects, manifest=both, addons=("coredns",), limit=9) == []
    said = taken(SAME).says(objects, manifest=both, addons=("coredns",), limit=9)
    assert "Will leave .spec.replicas of Deployment n/a as kubectl has set it" in said
    differs = ObjectsState(True, ("+  a: 2",), "", ())
    [step] = taken(differs).run(objects, manifest=both, addons=("coredns",), limit=9)
    assert step == Shell(APPLY.text, LEFT)


def test_objects_of_an_addon_that_was_switched_off_are_deleted_by_name() -> None:
    here = put(EXTRA)
    assert here.run(objects, manifest=MANIFEST, addons=("cluster", "coredns"), limit=9) == [
        Shell(f"{KUBECTL} delete --wait=false --ignore-not-found -n kube-system -- Service headlamp >/dev/null"),
        Shell(f"{KUBECTL} delete --wait=false --ignore-not-found -- ClusterRole headlamp:a >/dev/null"),
    ]
    said = here.says(objects, manifest=MANIFEST, addons=("cluster",), limit=9)
    assert "Will delete Service kube-system/headlamp of the addon headlamp" in said
    assert "Will delete ClusterRole headlamp:a of the addon headlamp" in said


def test_before_there_is_an_api_the_plan_shows_the_objects_in_full() -> None:
    here = put(ObjectsState(False, (), "no such container", ()), kubelet=False)
    assert here.run(objects, manifest=MANIFEST, addons=("cluster",), limit=9) == [APPLY]
    said = here.says(objects, manifest=MANIFEST, addons=("cluster",), limit=9)
    assert "Will create these objects:" in said
    assert "metadata: {name: a}" in said


def test_an_api_that_should_answer_and_does_not_is_unknown_which_is_not_empty() -> None:
    here = put(ObjectsState(False, (), "connection refused", ()))
    wait, apply = here.run(objects, manifest=MANIFEST, addons=("cluster",), limit=9)
    assert apply == APPLY
    assert isinstance(wait, Shell)
    assert "waited 9 s for the API to answer, in vain" in wait.text
    assert "Unknown what will change" in here.says(objects, manifest=MANIFEST, addons=("cluster",), limit=9)
    assert "connection refused" in here.says(objects, manifest=MANIFEST, addons=("cluster",), limit=9)


def ready(
    nodes: dict[str, NodeState] | None, *when: Meta, labels: tuple[str, ...] = (), kubelet: bool = False
) -> list[Step]:
    """Run the wait for the node w1."""
    have = daemons("daemons-worker" if kubelet else "daemons-fresh")
    here = World(workers=["w1"], facts={ClusterNodes: nodes, DaemonsFact: have})
    return here.run(node_ready, on="w1", node="w1", master=here.host("m1"), labels=labels, limit=90, when=when)


def test_a_ready_node_on_which_nothing_changed_is_not_waited_for() -> None:
    assert ready({"w1": NodeState(True)}, UNCHANGED) == []


def test_a_node_is_waited_for_when_something_changed_or_it_is_not_ready_or_not_known() -> None:
    for steps in (
        ready({"w1": NodeState(True)}, UNCHANGED, CHANGED),
        ready({"w1": NodeState(False)}),
        ready({}),
        ready(None),
    ):
        (step,) = steps
        assert isinstance(step, OnMaster)
        assert (step.host, step.doing) == ("m1", "waiting for node w1")
        assert "wait --for=condition=Ready --timeout=5s node/w1" in step.text
        assert "date +%s)+90" in step.text


@pytest.mark.parametrize(
    ("nodes", "kubelet", "restarts"),
    [({}, True, 1), ({}, False, 0), (None, True, 0), ({"w1": NodeState(False)}, True, 0)],
)
def test_a_kubelet_whose_node_was_deleted_is_started_again_to_register(
    nodes: dict[str, NodeState] | None, kubelet: bool, restarts: int
) -> None:
    *before, wait = ready(nodes, kubelet=kubelet)
    assert isinstance(wait, OnMaster)
    assert [isinstance(step, Shell) and "docker restart -t 5 kubelet" in step.text for step in before] == [
        True
    ] * restarts


CLOCK = """case "$*" in *-d*) echo 1000;; *) n=$(cat CLOCK); echo $((n + 7)) > CLOCK; echo $n;; esac"""
"""A date(1) that goes seven seconds further each time; the kubelet was started when it said 1000."""


@pytest.mark.parametrize(
    ("now", "registers", "asked", "restarts"), [(1060, False, 0, 1), (1010, True, 1, 0), (1030, False, 5, 1)]
)
def test_a_kubelet_that_was_just_started_may_be_about_to_register(
    now: int, registers: bool, asked: int, restarts: int, tmp_path: Path
) -> None:
    *before, _ = ready({}, kubelet=True)
    (step,) = before
    assert isinstance(step, Shell)
    clock, calls = tmp_path / "clock", tmp_path / "calls"
    clock.write_text(str(now))
    calls.touch()
    program(tmp_path / "bin", "date", CLOCK.replace("CLOCK", str(clock)))
    program(tmp_path / "bin", "sleep", "true")
    program(tmp_path / "bin", "docker", f'echo "$*" >> {calls}; case "$1" in exec) {str(registers).lower()};; esac')
    assert sh(step.text, path=str(tmp_path / "bin")).returncode == 0
    said = calls.read_text()
    assert said.count("exec kubelet kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node w1") == asked
    assert said.count("restart -t 5 kubelet") == restarts


ROLE = "node-role.kubernetes.io/control-plane="


def test_a_node_gets_the_labels_that_it_may_not_give_itself() -> None:
    _, label = ready(None, labels=(ROLE,))
    assert label == OnMaster("m1", f"{KUBECTL} label --overwrite node w1 {ROLE}", "labelling node w1")
    assert ready({"w1": NodeState(True, labels=frozenset({ROLE}))}, labels=(ROLE,)) == []


def test_a_label_that_someone_took_away_is_put_back_without_a_wait() -> None:
    (label,) = ready({"w1": NodeState(True)}, UNCHANGED, labels=(ROLE,))
    assert isinstance(label, OnMaster)
    assert label.doing == "labelling node w1"


def test_the_plan_names_the_labels() -> None:
    here = World(facts={ClusterNodes: None})
    said = here.says(node_ready, node="m1", master=here.host("m1"), labels=(ROLE,), limit=9, when=[])
    assert said == f"[m1] Will wait until node m1 is Ready\n[m1] Will label node m1 with {ROLE}"


KNOWN = Subnets(True, "", {n: f"10.1.{i}.0/24" for i, n in enumerate(("m1", "w1", "w2", "gone"), 1)})


def test_every_node_that_is_ready_is_pinged_over_the_pod_network_and_the_others_are_named() -> None:
    nodes = {"m1": NodeState(True), "w1": NodeState(True), "w2": NodeState(False)}
    here = World(workers=["w1"], facts={EtcdSubnets: KNOWN, ClusterNodes: nodes}, executing=True)
    *pings, tells = here.run(pods_network_verified, on="w1", master=here.host("m1"), limit=9, when=[CHANGED])
    texts = [s.text for s in pings if isinstance(s, Shell)]
    assert len(texts) == len(pings) == 2
    assert " 10.1.1.1 " in texts[0]
    assert " 10.1.2.1 " in texts[1]
    assert all("ping -c 1 -W 2" in t for t in texts)
    assert tells == Calls("_tell", ("node w2 is not Ready, so it is not pinged over the pod network",))


def test_all_are_pinged_where_nobody_tells_who_is_ready() -> None:
    here = World(workers=["w1"], facts={EtcdSubnets: KNOWN, ClusterNodes: None}, executing=True)
    assert len(here.run(pods_network_verified, on="w1", master=here.host("m1"), limit=9, when=[CHANGED])) == 4


def test_the_plan_does_not_guess_which_nodes_will_have_joined() -> None:
    here = World(workers=["w1"])
    (step,) = here.run(pods_network_verified, on="w1", master=here.host("m1"), limit=9, when=[CHANGED])
    assert step == Shell("false # planned: the nodes that are Ready by then")
    assert here.asked == []


def test_the_pod_network_is_not_checked_where_nothing_changed() -> None:
    here = World(workers=["w1"], executing=True)
    assert here.run(pods_network_verified, on="w1", master=here.host("m1"), limit=9, when=[UNCHANGED]) == []


MACHINE = "b" * 32


def removed(
    nodes: dict[str, NodeState] | None, *, whole: bool, docker: bool = True, record: dict[str, str] | None = None
) -> list[Step]:
    """Turn w1 down, alone or with its master; its Docker runs or not."""
    here = World(
        workers=["w1"],
        platforms={"w1": machines.found("w1", "10.0.0.12", record=record, machine_id=MACHINE)},
        facts={ClusterNodes: nodes, DaemonsFact: daemons(main={"active": docker}), HostFiles: host_files()},
    )
    if not whole:
        here.state.limit_hosts = [here.host("w1")]
        here.state.active_hosts = {here.host("w1")}
    return here.run(node_removed, on="w1", node=here.node("w1"), limit=60)


def test_a_worker_that_goes_alone_is_drained_and_deleted() -> None:
    (step,) = removed({"w1": NodeState(True, MACHINE, "10.0.0.12")}, whole=False)
    assert isinstance(step, Calls)
    assert step.name == "_drained"
    command = step.arguments[1]
    assert command.startswith(f"{busy.MARK} said=$(timeout 90 docker exec -i kubelet kubectl ")
    assert " drain w1 --ignore-daemonsets --delete-emptydir-data --force --timeout=60s 2>&1 || " in command
    deleted = f"; {KUBECTL} delete --ignore-not-found node w1 >/dev/null; rc=$?; "
    assert command.endswith(deleted + "printf '%s\\n' \"$said\"; exit $rc")


def test_a_drained_node_is_deleted_also_where_nobody_hears_of_it_any_more(tmp_path: Path) -> None:
    (step,) = removed({"w1": NodeState(True, MACHINE, "10.0.0.12")}, whole=False)
    assert isinstance(step, Calls)
    command = step.arguments[1].replace(busy.BUSY, str(tmp_path / "busy"))
    program(
        tmp_path,
        "docker",
        f'echo "$*" >> {tmp_path}/did; echo evicted; echo evicted; case "$*" in *drain*) exit 1;; esac',
    )
    said = sh(command, path=str(tmp_path))
    assert (said.stdout.splitlines(), said.returncode) == (["evicted", "evicted", "error: no answer in time"], 0)
    sh(f"exec >/dev/full; {command}", path=str(tmp_path))  # as when ssh is gone
    assert [line.split()[-1] for line in (tmp_path / "did").read_text().splitlines()] == ["--timeout=60s", "w1"] * 2


def test_the_node_goes_on_where_a_copy_of_its_machine_is_turned_down() -> None:
    here, there = machines.found("w1", "10.0.0.12"), "0ther-b00t"
    for address, boot, ready, gone in (
        ("10.0.0.99", there, True, False),
        ("10.0.0.99", here.boot_id, True, True),  # its own address is another one by now
        ("10.0.0.12", there, True, True),  # it has just booted
        ("10.0.0.99", there, False, True),
    ):
        assert bool(removed({"w1": NodeState(ready, MACHINE, address, boot_id=boot)}, whole=False)) == gone


def test_a_worker_that_says_it_is_the_master_takes_nothing_away() -> None:
    record = {"name": "m1", "address": "10.0.0.12"}
    known = {"m1": NodeState(True, MACHINE, "10.0.0.12"), "w1": NodeState(True, MACHINE, "10.0.0.12")}
    assert removed(known, whole=False, record=record) == []
    (step,) = removed(known, whole=False, record={"name": "--all"})
    assert isinstance(step, Calls)
    assert " drain w1 " in step.arguments[1], "what can be no name is not taken for one"


def test_a_node_of_another_machine_is_left_alone() -> None:
    another = NodeState(True, "c" * 32, "10.0.0.99")
    assert removed({"w1": another}, whole=False) == []
    assert removed({"w1": another}, whole=False, record={"name": "w1"}) == []


def test_a_node_leaves_by_the_name_with_which_it_joined() -> None:
    nodes = {"old": NodeState(False, MACHINE), "w1": NodeState(False, "c" * 32)}
    (step,) = removed(nodes, whole=False, record={"name": "old"})
    assert isinstance(step, OnMaster)
    assert step.text == f"{KUBECTL} delete --ignore-not-found node old >/dev/null"


def test_an_api_that_does_not_answer_is_told_with_what_stays_in_it() -> None:
    here = World(workers=["w1"], facts={ClusterNodes: None, HostFiles: host_files(File(NODE, "{}"))})
    here.state.active_hosts = {here.host("w1")}
    said = here.says(node_removed, on="w1", node=here.node("w1"), limit=60)
    assert "The API on m1 does not answer: node w1 is not drained" in said
    assert "kubectl delete node w1" in said


@pytest.mark.parametrize(("ready", "docker"), [(False, True), (True, False)])
def test_a_worker_that_can_not_end_pods_is_deleted_without_a_drain(ready: bool, docker: bool) -> None:
    (step,) = removed({"w1": NodeState(ready, MACHINE, "10.0.0.12")}, whole=False, docker=docker)
    assert isinstance(step, OnMaster)
    assert step.text == f"{KUBECTL} delete --ignore-not-found node w1 >/dev/null"


def test_a_worker_that_goes_with_its_master_or_is_not_known_is_not_drained() -> None:
    assert removed({"w1": NodeState(True, MACHINE, "10.0.0.12")}, whole=True) == []
    assert removed(None, whole=False) == []
    assert removed({}, whole=False) == []
