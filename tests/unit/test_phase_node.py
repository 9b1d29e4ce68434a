"""The node: what must be there before the kubelet starts, and what it sees of the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.phases import node
from deploys.record import MANIFESTS

from . import machines
from .harness import World
from .known import daemons

OPERATIONS = ("remembered", "pulled", "built", "kubelet_client", "files", "container", "wait_for")


REMOVALS = ("no_files", "main_daemon_started", "no_container", "no_pods", "no_cgroups", "no_chains", "no_directories")


def operations(monkeypatch: pytest.MonkeyPatch, *, removal: bool = False, **data: Any) -> dict[str, dict[str, Any]]:
    """The phase's operations with their arguments, in their order."""
    called: dict[str, dict[str, Any]] = {}

    def recorder(operation: str) -> Callable[..., str]:
        def record(**arguments: Any) -> str:
            called[operation] = arguments
            return operation

        return record

    for name in REMOVALS if removal else OPERATIONS:
        monkeypatch.setattr(node, name, recorder(name))
    world = World(data=data, facts={DaemonsFact: daemons()})
    there = world.node()
    with world.on():
        (node.remove if removal else node.apply)(there)
    return called


def test_a_kubelet_that_starts_with_docker_for_its_removal_has_no_configuration_to_register_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = operations(monkeypatch, removal=True)
    assert list(called)[:3] == ["no_files", "main_daemon_started", "no_container"]
    assert called["no_files"]["paths"] == (node.CONFIG, node.KUBECONFIG)


def test_the_directory_of_static_pods_is_made_before_the_kubelet_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    called = operations(monkeypatch)
    assert called["files"]["directories"] == [MANIFESTS]
    assert list(called).index("files") < list(called).index("container")


def test_the_kubelet_is_waited_for_where_its_certificate_or_its_container_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert operations(monkeypatch)["wait_for"]["when"] == ["kubelet_client", "container"]


def test_the_kubelet_sees_the_directories_of_volumes_with_what_is_mounted_there_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = operations(monkeypatch, kubelet_paths="/data,/srv")["container"]
    lines = called["spec"].lines()
    assert {"option /data:/data:rslave", "option /srv:/srv:rslave"} < set(lines)
    assert "option /opt:/opt:rslave" not in lines
    assert called["directories"] == ["/data", "/srv"]


@pytest.mark.parametrize(
    ("root", "sees"),
    [("/data", ["/srv"]), ("/srv/docker", ["/data/volumes", "/srv"]), ("/dat", ["/data/volumes", "/srv"])],
)
def test_what_lies_in_dockers_data_is_not_mounted_twice(root: str, sees: list[str]) -> None:
    platform = machines.found("m1", "10.0.0.11", docker_root=root)
    there = World(data={"kubelet_paths": "/data/volumes,/srv"}, platforms={"m1": platform}).node()
    assert [line for line in node.spec(there, "").lines() if line.startswith(("option /data/v", "option /srv:"))] == [
        f"option {path}:{path}:rslave" for path in sees
    ]
