"""Fields that others have set: read from what the API server says, and left out of what is applied."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deploys.managed_fields import Taken, conflicts, leave

ONE = 'error: Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using v1: .spec.replicas'
SEVERAL = """\
error: Apply failed with 3 conflicts: conflicts with "helm" using apps/v1 at 2026-11-24T07:00:00Z:
- .spec.replicas
- .spec.template.spec.containers[name="coredns"].image
conflicts with "kubectl-edit" using apps/v1:
- .data.Corefile
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
"""
DOCUMENT: dict[str, Any] = {
    "metadata": {"labels": {"a": "1", "a.b/c": "2"}},
    "spec": {
        "replicas": 2,
        "ports": [{"port": 53, "name": "udp"}, {"port": 53, "protocol": "TCP"}],
        "finalizers": ["x", "y"],
        "args": ["-a", "-b"],
    },
}


def test_one_field_is_named_with_its_owner() -> None:
    assert conflicts([ONE]) == (Taken("kubectl", ".spec.replicas"),)


def test_several_fields_belong_to_the_owner_above_them() -> None:
    assert conflicts(SEVERAL.splitlines()) == (
        Taken("helm", ".spec.replicas"),
        Taken("helm", '.spec.template.spec.containers[name="coredns"].image'),
        Taken("kubectl-edit", ".data.Corefile"),
    )


@pytest.mark.parametrize("line", ["", "- .spec", "error: connection refused", "The conflict: .spec"])
def test_other_errors_name_no_field(line: str) -> None:
    assert conflicts([line]) == ()


@pytest.mark.parametrize(
    ("path", "parent", "gone"),
    [
        (".spec.replicas", ("spec",), "replicas"),
        (".metadata.labels.a", ("metadata", "labels"), "a"),
        (".metadata.labels.a.b/c", ("metadata", "labels"), "a.b/c"),
        ('.spec.ports[port=53,protocol="UDP"].name', ("spec", "ports", 0), "name"),
        ('.spec.ports[port=53,protocol="TCP"].port', ("spec", "ports", 1), "port"),
        ('.spec.finalizers[="y"]', ("spec", "finalizers"), 1),
        (".spec.args[0]", ("spec", "args"), 0),
        (".spec", (), "spec"),
    ],
)
def test_a_field_is_taken_out_and_nothing_else(path: str, parent: tuple[Any, ...], gone: Any) -> None:
    document, expected = copy.deepcopy(DOCUMENT), copy.deepcopy(DOCUMENT)
    there: Any = expected
    for key in parent:
        there = there[key]
    del there[gone]
    assert leave(document, path)
    assert document == expected


@pytest.mark.parametrize(
    "path",
    ["", ".", "spec", ".spec.nothing", ".spec.replicas.x", ".spec.args[9]", ".spec.args[", '.spec.args[="z"]', "[0]"],
)
def test_a_field_that_is_not_in_the_object_changes_nothing(path: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    assert not leave(document, path)
    assert document == DOCUMENT
