"""Addons are applied by the first master alone, and live in etcd."""

from __future__ import annotations

import yaml

from deploys.facts.kubernetes import ADDON
from deploys.phases import addons

from .harness import World, called


def test_the_first_master_applies_what_its_settings_name_and_what_the_cluster_itself_needs() -> None:
    here = World(workers=["w1"], data={"addons": "coredns", "dns_domain": "lab.lan"})
    ((name, arguments),) = called(addons, here)
    assert (name, arguments["addons"], arguments["limit"]) == ("objects", ("cluster", "coredns"), 180)
    labels = [document["metadata"]["labels"][ADDON] for document in yaml.safe_load_all(arguments["manifest"])]
    assert set(labels) == {"cluster", "coredns"}
    assert "kubernetes lab.lan in-addr.arpa" in arguments["manifest"]
    assert called(addons, here, "w1") == []


def test_the_plan_asks_for_the_very_text_that_is_applied() -> None:
    here = World(data={"addons": "metrics-server"})
    ((_, arguments),) = called(addons, here)
    fact, host, asked = addons.question(here.host("m1"), here.node().settings)
    assert (fact.__name__, host.name) == ("Objects", "m1")
    assert asked == {"manifest": arguments["manifest"]}


def test_nothing_is_removed_for_they_go_with_etcds_data() -> None:
    assert called(addons, World(), removal=True) == []
