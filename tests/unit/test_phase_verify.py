"""What a run checks at its end, and that it checks nothing where it changed nothing."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.phases import node, verify

from .harness import Called, Meta, World, called
from .known import daemons

LIMIT = 180
LOOKUP = "getent hosts kubernetes.default.svc.cluster.local"


def told(here: World, on: str, monkeypatch: pytest.MonkeyPatch) -> Called:
    """The checks of a host on which the run changed something."""
    monkeypatch.setattr(verify, "changes", lambda host: ["a change"])
    return called(verify, here, on)


def test_a_worker_is_checked_for_the_node_the_pod_network_and_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    here = World(workers=["w1"])
    ready, network, dns = told(here, "w1", monkeypatch)
    asked = {"master": here.host("m1"), "limit": LIMIT, "when": ["a change"]}
    assert ready == ("node_ready", {"node": "w1", "labels": (), **asked})
    assert network == ("pods_network_verified", asked)
    assert dns[0] == "verified"
    image = node.image(here.node("w1"))
    assert dns[1]["test"] == f"timeout 20 docker run --rm --dns 10.96.0.10 {image} {LOOKUP}"
    assert (dns[1]["limit"], dns[1]["when"]) == (LIMIT, ["a change"])


def test_a_master_has_its_label_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = told(World(), "m1", monkeypatch)
    assert [name for name, _ in checks] == ["node_ready", "pods_network_verified", "verified", "told"]
    assert checks[0][1]["labels"] == ("node-role.kubernetes.io/control-plane=",)
    assert "deploys/kubeconfig.py" in checks[-1][1]["line"]


def test_nothing_is_checked_where_nothing_was_changed() -> None:
    assert [arguments["when"] for _, arguments in called(verify, World())] == [[]] * 4


def test_a_name_is_asked_of_the_dns_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"dns_domain": "lab.lan", "service_network": "10.97.0.0/16", "dns_server_ip": "10.97.0.53"}
    dns = told(World(data=data), "m1", monkeypatch)[2][1]
    assert "--dns 10.97.0.53 " in dns["test"]
    assert dns["test"].endswith("kubernetes.default.svc.lab.lan")


def test_dns_is_not_asked_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, _ in told(World(data={"addons": "metrics-server"}), "m1", monkeypatch)]
    assert "verified" not in names


COREDNS: dict[str, Any] = {"addons": "coredns"}
NONE: dict[str, Any] = {"addons": []}


@pytest.mark.parametrize(("master", "worker", "applied"), [(COREDNS, NONE, True), (NONE, COREDNS, False)])
def test_the_first_masters_addons_decide_for_a_worker(
    master: dict[str, Any], worker: dict[str, Any], applied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = World(masters={"m1": master}, workers={"w1": worker}, facts={DaemonsFact: daemons()})
    assert ("verified" in [name for name, _ in told(here, "w1", monkeypatch)]) is applied
    with here.on("w1"):
        images = node._images(here.node("w1"))
    assert any("/coredns:" in image for image in images) is applied, "an image that comes by us is recorded"


def test_a_node_that_leaves_is_drained_within_its_limit() -> None:
    here = World(data={"timeout_for_drain": 7})
    ((name, arguments),) = called(verify, here, removal=True)
    assert (name, arguments["limit"], arguments["node"].name) == ("node_removed", 7, "m1")


@pytest.mark.parametrize("earlier", [Meta(False), Meta(True)])
def test_the_changes_of_the_host_decide(earlier: Meta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "changes", lambda host: [earlier])
    assert all(arguments["when"] == [earlier] for _, arguments in called(verify, World()))
