"""The node: what must be there before the kubelet starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploys.phases import node
from deploys.record import MANIFESTS

from .harness import World

OPERATIONS = ("remembered", "pulled", "built", "kubelet_client", "files", "container", "wait_for")


def operations(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The phase's operations with their arguments, in their order."""
    called: dict[str, dict[str, Any]] = {}

    def recorder(operation: str) -> Callable[..., str]:
        def record(**arguments: Any) -> str:
            called[operation] = arguments
            return operation

        return record

    for name in OPERATIONS:
        monkeypatch.setattr(node, name, recorder(name))
    world = World()
    there = world.node()
    with world.on():
        node.apply(there)
    return called


def test_the_directory_of_static_pods_is_made_before_the_kubelet_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    called = operations(monkeypatch)
    assert called["files"]["directories"] == [MANIFESTS]
    assert list(called).index("files") < list(called).index("container")


def test_the_kubelet_is_waited_for_where_its_certificate_or_its_container_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert operations(monkeypatch)["wait_for"]["when"] == ["kubelet_client", "container"]
