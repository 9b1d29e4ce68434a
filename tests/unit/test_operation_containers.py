"""Containers: what the label says is compared with what is wished, so that drift is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import HostFiles
from deploys.operations.containers import Program, Spec, container, no_container, programs_restarted
from deploys.operations.files import WRITE, File
from deploys.operations.images import pulled

from .harness import Fails, Shell, World
from .known import altered, daemons, host_files, running

SPEC = Spec("reg/etcd:3.7", ("--net=host", "-v", "/a b:/c"), ("etcd", "--name=n 1"))
BOOT = "docker -H unix:///run/docker-bootstrap.sock"
RUN = (
    f"{BOOT} ps -aq --filter name=^/etcd$ --filter label=io.docker-multinode.spec | "
    f"xargs -r {BOOT} rm -f -v >/dev/null; {BOOT} --config /var/lib/docker-multinode/none run -d --name etcd --label "
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


def test_a_container_that_its_daemon_lost_on_a_full_disk_is_not_made_a_second_time() -> None:
    here = World(facts={DaemonsFact: daemons(main={"containers": {}, "forgotten": ("kubelet",)})})
    assert here.run(container, daemon="main", container="kubelet", spec=SPEC) == []
    assert here.noops == ["container kubelet is there again when its daemon has restarted"]
    # its daemon has restarted by then, and still does not know it
    after = World(facts=here.facts, executing=True)
    assert len(after.run(container, daemon="main", container="kubelet", spec=SPEC)) == 1


def test_what_a_daemon_that_is_down_has_is_unknown_in_the_plan() -> None:
    here = World(facts={DaemonsFact: daemons(bootstrap={"containers": {}, "images": {}, "down": True})})
    said = here.says(container, daemon="bootstrap", container="etcd", spec=SPEC)
    assert said == "[m1] Unknown whether container etcd is as it should be, the bootstrap daemon is down"
    said = here.says(pulled, daemon="bootstrap", images=["reg/etcd:3.7"], limit=60)
    assert "Will pull onto the bootstrap daemon, where it is not there (the daemon is down now):" in said
    assert "the daemon is down" not in world(None, there=False).says(pulled, daemon="main", images=["x:1"], limit=60)


def test_a_program_whose_certificate_was_renewed_behind_its_back_is_restarted() -> None:
    crt = "/etc/kubernetes/pki/etcd/flannel-client.crt"
    have = daemons(bootstrap={"containers": {"etcd": replace(running("etcd", SPEC), started=100)}})
    for changed, told in ((101, f"which reads {crt} at its start"), (100, "")):
        here = World(facts={DaemonsFact: have, HostFiles: altered(host_files(File(crt, "PEM")), crt, changed=changed)})
        assert told in here.says(container, daemon="bootstrap", container="etcd", spec=SPEC, renewed=[crt])
        commands = here.run(container, daemon="bootstrap", container="etcd", spec=SPEC, renewed=[crt])
        assert commands == ([Shell(f"{BOOT} restart -t 5 etcd >/dev/null")] if told else [])


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
    said = world(SPEC).says(
        container, daemon="bootstrap", container="etcd", spec=new, reads=[File("/etc/kubelet.yaml", "x")]
    )
    assert "(it reads /etc/kubelet.yaml at its start)" in said
    assert "+revision abc" in said


def test_the_plan_shows_a_new_container_with_all_its_options() -> None:
    said = world(None, there=False).says(container, daemon="bootstrap", container="etcd", spec=SPEC)
    for line in SPEC.lines():
        assert f"+ {line}" in said


def test_directories_that_a_container_has_mounted_are_made_before_with_a_record_and_only_for_a_new_one() -> None:
    wanted: dict[str, Any] = {
        "daemon": "bootstrap",
        "container": "etcd",
        "spec": SPEC,
        "directories": ["/srv", "/data"],
    }
    fresh = world(None, there=False)
    assert [command.text for command in fresh.run(container, **wanted) if isinstance(command, Shell)] == [
        f"{WRITE.strip()}\nmkdirs /srv\nmkdirs /data", RUN
    ]  # fmt: skip
    assert "Will make these before, where they are missing: /srv, /data" in fresh.says(container, **wanted)
    assert world(SPEC).run(container, **wanted) == []


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


CONFIG = File("/etc/kubelet.yaml", "a: 1\n")


def reading(content: str, changed: int, *, started: int = 100) -> World:
    """A host whose etcd, started at second 100, reads a file that was changed at some second."""
    have = altered(host_files(File(CONFIG.path, content)), CONFIG.path, changed=changed)
    etcd = replace(running("etcd", SPEC), started=started)
    return World(facts={DaemonsFact: daemons(bootstrap={"containers": {"etcd": etcd}}), HostFiles: have})


@pytest.mark.parametrize(
    ("content", "changed", "why"),
    [("a: 2\n", 50, "about to be written"), ("a: 1\n", 101, "written since the program's start")],
)
def test_a_program_that_has_not_read_its_file_as_it_should_be_is_started_again(
    content: str, changed: int, why: str
) -> None:
    here = reading(content, changed)
    commands = here.run(container, daemon="bootstrap", container="etcd", spec=SPEC, reads=[CONFIG])
    assert commands == [Shell(f"{BOOT} restart -t 5 etcd >/dev/null")], why
    said = here.says(container, daemon="bootstrap", container="etcd", spec=SPEC, reads=[CONFIG])
    assert "Will restart container etcd on the bootstrap daemon, which reads /etc/kubelet.yaml" in said


def test_a_program_that_was_started_after_its_file_was_written_is_left_alone() -> None:
    for here in (reading("a: 1\n", 99), reading("a: 1\n", 100), reading("a: 1\n", 500, started=0)):
        assert here.run(container, daemon="bootstrap", container="etcd", spec=SPEC, reads=[CONFIG]) == []


MANIFEST = File("/etc/kubernetes/manifests/kube-proxy.yaml", "kind: Pod\n")
PROXY = Program("kube-proxy", MANIFEST, (CONFIG,))


def pods(*have: File, changed: int = 50, programs: Mapping[str, int] | None = None) -> World:
    """A host with these files, whose kube-proxy was started at second 100."""
    found = host_files(*have)
    if CONFIG.path in found.files:
        found = altered(found, CONFIG.path, changed=changed)
    known = replace(daemons(), programs={"kube-proxy": 100} if programs is None else programs)
    return World(facts={DaemonsFact: known, HostFiles: found})


def test_a_program_in_a_pod_whose_file_was_changed_behind_its_back_is_stopped_for_the_kubelet_to_start() -> None:
    for here in (pods(MANIFEST, File(CONFIG.path, "a: 2\n")), pods(MANIFEST, CONFIG, changed=101)):
        (command,) = here.run(programs_restarted, programs=[PROXY])
        assert isinstance(command, Shell)
        assert "io.kubernetes.container.name=kube-proxy" in command.text
        assert "xargs -r docker stop" in command.text
        said = here.says(programs_restarted, programs=[PROXY])
        assert said == "[m1] Will restart kube-proxy, which reads /etc/kubelet.yaml at its start"


def test_a_program_whose_pod_is_replaced_or_gone_needs_no_restart() -> None:
    edited = File(CONFIG.path, "a: 2\n")
    new, gone = pods(File(MANIFEST.path, "kind: Old\n"), edited), pods(MANIFEST, edited, programs={})
    for here in (new, gone, pods(MANIFEST, CONFIG), pods()):
        assert here.run(programs_restarted, programs=[PROXY]) == []
