"""The node: what must be there before the kubelet starts, and what it sees of the host."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.phases import node
from deploys.record import MANIFESTS

from . import machines
from .harness import World, called
from .known import daemons


def operations(*, removal: bool = False, **data: Any) -> dict[str, dict[str, Any]]:
    """The phase's operations with their arguments, in their order."""
    return dict(called(node, World(data=data, facts={DaemonsFact: daemons()}), removal=removal))


def test_a_kubelet_that_starts_with_docker_for_its_removal_has_no_configuration_to_register_with() -> None:
    found = operations(removal=True)
    assert list(found)[:3] == ["no_files", "main_daemon_started", "no_container"]
    assert found["no_files"]["paths"] == (node.CONFIG, node.KUBECONFIG)


def test_the_directory_of_static_pods_is_made_before_the_kubelet_starts() -> None:
    found = operations()
    assert found["files"]["directories"] == [MANIFESTS]
    assert list(found).index("files") < list(found).index("container")


def test_the_kubelet_is_waited_for_where_its_certificate_or_its_container_is_new() -> None:
    assert operations()["wait_for"]["when"] == ["kubelet_client", "container"]


def test_the_kubelet_sees_the_directories_of_volumes_with_what_is_mounted_there_later() -> None:
    found = operations(kubelet_paths="/data,/srv")["container"]
    lines = found["spec"].lines()
    assert {"option /data:/data:rslave", "option /srv:/srv:rslave"} < set(lines)
    assert "option /opt:/opt:rslave" not in lines
    assert found["directories"] == ["/data", "/srv"]


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
