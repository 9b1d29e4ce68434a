"""Containers: what the label says is compared with what is wished, so that drift is seen."""

from __future__ import annotations

from deploys.facts.daemons import DaemonsFact
from deploys.operations.containers import Spec, container, no_container

from .harness import Fails, Shell, World
from .known import daemons, running

SPEC = Spec("reg/etcd:3.7", ("--net=host", "-v", "/a b:/c"), ("etcd", "--name=n 1"))
BOOT = "docker -H unix:///run/docker-bootstrap.sock"
RUN = (
    f"{BOOT} ps -aq --filter name=^/etcd$ --filter label=io.docker-multinode.spec | "
    f"xargs -r {BOOT} rm -f -v >/dev/null; {BOOT} run -d --name etcd --label "
    '\'io.docker-multinode.spec=["image reg/etcd:3.7", "option --net=host", "option -v", "option /a b:/c", '
    '"argument etcd", "argument --name=n 1"]\' '
    "--net=host -v '/a b:/c' reg/etcd:3.7 etcd '--name=n 1' >/dev/null"
)


def world(spec: Spec | None, *, there: bool = True, runs: bool = True) -> World:
    """A host whose bootstrap daemon has etcd with that specification."""
    containers = {"etcd": running("etcd", spec, runs=runs)} if there else {}
    return World(facts={DaemonsFact: daemons(bootstrap={"containers": containers})})


def test_a_container_that_runs_as_it_should_is_left_alone() -> None:
    here = world(SPEC)
    assert here.run(container, daemon="bootstrap", container="etcd", spec=SPEC) == []
    assert here.noops == ["container etcd runs as it should"]


def test_a_missing_container_is_created() -> None:
    commands = world(None, there=False).run(container, daemon="bootstrap", container="etcd", spec=SPEC)
    assert commands == [Shell(RUN)]


def test_a_container_of_another_specification_is_replaced_and_the_plan_shows_the_lines() -> None:
    old = Spec("reg/etcd:3.6", SPEC.options, SPEC.command)
    here = world(old)
    assert here.run(container, daemon="bootstrap", container="etcd", spec=SPEC) == [Shell(RUN)]
    said = here.says(container, daemon="bootstrap", container="etcd", spec=SPEC)
    assert "Will replace container etcd on the bootstrap daemon" in said
    assert "-image reg/etcd:3.6\n" in said
    assert "+image reg/etcd:3.7\n" in said
    assert "+option" not in said


def test_a_container_whose_label_can_not_be_read_is_replaced() -> None:
    commands = world(None).run(container, daemon="bootstrap", container="etcd", spec=SPEC)
    assert commands == [Shell(RUN)]


def test_a_container_that_stands_still_is_started() -> None:
    here = world(SPEC, runs=False)
    commands = here.run(container, daemon="bootstrap", container="etcd", spec=SPEC)
    assert commands == [Shell(f"{BOOT} restart -t 5 etcd >/dev/null")]
    said = here.says(container, daemon="bootstrap", container="etcd", spec=SPEC)
    assert "Will start container etcd on the bootstrap daemon, which is not running" in said


def test_a_changed_revision_replaces_and_the_plan_says_which_files_it_stands_for() -> None:
    new = Spec(SPEC.image, SPEC.options, SPEC.command, "abc")
    said = world(SPEC).says(container, daemon="bootstrap", container="etcd", spec=new, why=["/etc/kubelet.yaml"])
    assert "(it reads /etc/kubelet.yaml at its start)" in said
    assert "+revision abc" in said


def test_the_plan_shows_a_new_container_with_all_its_options() -> None:
    said = world(None, there=False).says(container, daemon="bootstrap", container="etcd", spec=SPEC)
    for line in SPEC.lines():
        assert f"+ {line}" in said


def test_a_container_on_the_other_daemon_is_another_one() -> None:
    (command,) = world(SPEC).run(container, daemon="main", container="etcd", spec=SPEC)
    assert isinstance(command, Shell)
    assert command.text.startswith("docker -H unix:///var/run/docker.sock ps -aq --filter name=^/etcd$ ")


def test_a_container_that_must_go_is_stopped_first() -> None:
    here = world(SPEC)
    assert here.run(no_container, daemon="bootstrap", container="etcd") == [
        Shell(f"{BOOT} stop -t 20 etcd >/dev/null; {BOOT} rm -f -v etcd >/dev/null")
    ]
    assert "Will stop and remove container etcd" in here.says(no_container, daemon="bootstrap", container="etcd")


def test_a_container_that_is_gone_needs_no_removal() -> None:
    here = world(SPEC)
    assert here.run(no_container, daemon="bootstrap", container="flannel") == []
    assert here.noops == ["container flannel is not there"]


def test_a_container_of_somebody_else_with_the_name_is_never_touched() -> None:
    here = World(facts={DaemonsFact: daemons("daemons-fresh", main={"others": frozenset({"kubelet"})})})
    (step,) = here.run(container, daemon="main", container="kubelet", spec=SPEC)
    assert isinstance(step, Fails)
    assert "docker rename kubelet NAME" in step.reason
    assert here.run(no_container, daemon="main", container="kubelet") == []
