"""Who gets which part of the pod network: the same answer on every host, for life."""

from __future__ import annotations

import random

import pytest

from deploys.facts.etcd import Subnets
from deploys.subnets import DOCKER_POOLS, NoSubnetLeftError, allocate, bridge_address, environment, gateway

NOBODY = Subnets(True, "")
NET = "10.1.0.0/16"


def test_newcomers_get_the_next_free_subnets_in_order_leaving_the_first_out() -> None:
    assert allocate(NET, {}, NOBODY, ["b", "a"]) == {"b": "10.1.1.0/24", "a": "10.1.2.0/24"}


def test_a_record_beats_a_reservation() -> None:
    known = Subnets(True, "", {"a": "10.1.5.0/24"})
    assert allocate(NET, {"a": "10.1.9.0/24"}, known, ["a"])["a"] == "10.1.9.0/24"


def test_a_reservation_beats_the_next_free_one() -> None:
    assert allocate(NET, {}, Subnets(True, "", {"a": "10.1.5.0/24"}), ["a"]) == {"a": "10.1.5.0/24"}


def test_what_is_recorded_reserved_or_leased_is_taken() -> None:
    known = Subnets(True, "", {"r": "10.1.1.0/24"}, {"10.0.0.9": "10.1.2.0/24"})
    assert allocate(NET, {"x": "10.1.3.0/24"}, known, ["new"])["new"] == "10.1.4.0/24"


def test_every_host_of_a_run_comes_to_the_same_answer_whatever_was_done_meanwhile() -> None:
    nodes = ["m", "a", "b", "c", "d"]
    plan = allocate(NET, {}, NOBODY, nodes)
    generator = random.Random(5)
    for _ in range(50):
        done = dict(generator.sample(sorted(plan.items()), generator.randrange(len(nodes))))
        recorded = dict(generator.sample(sorted(done.items()), generator.randrange(len(done) + 1)))
        assert allocate(NET, recorded, Subnets(True, "", done), nodes) == plan


def test_a_full_network_is_said_with_the_node_that_gets_nothing() -> None:
    with pytest.raises(NoSubnetLeftError, match=r"10.1.0.0/22 has no /24 left for d"):
        allocate("10.1.0.0/22", {}, NOBODY, ["a", "b", "c", "d"])


def test_a_full_network_is_no_trouble_for_who_has_a_subnet() -> None:
    nodes = ["a", "b", "c"]
    full = allocate("10.1.0.0/22", {}, NOBODY, nodes)
    assert allocate("10.1.0.0/22", full, NOBODY, nodes) == full


def test_the_gateway_is_the_first_address() -> None:
    assert gateway("10.1.3.0/24") == "10.1.3.1/24"


def test_subnet_env_is_what_flannel_writes() -> None:
    assert environment(NET, "10.1.3.0/24", 1450, False).splitlines() == [
        "FLANNEL_NETWORK=10.1.0.0/16", "FLANNEL_SUBNET=10.1.3.1/24", "FLANNEL_MTU=1450", "FLANNEL_IPMASQ=false",
    ]  # fmt: skip


def test_docker0_gets_its_old_address_unless_a_network_has_it_and_then_the_first_free_one() -> None:
    old = "172.17.0.1/16"
    assert bridge_address(old, {}, ["172.17.0.0/16"], DOCKER_POOLS) == (old, None)
    assert bridge_address(old, {"172.17.4.0/24": "a"}, [], DOCKER_POOLS) == ("172.18.0.1/16", "a")
    every = {"172.16.0.0/12": "a", "192.168.0.0/20": "b"}
    assert bridge_address(old, {"172.17.0.0/16": "a"}, ["0.0.0.0/1", "128.0.0.0/1"], DOCKER_POOLS)[0] == "172.18.0.1/16"
    assert bridge_address(old, every, ["192.168.17.0/24", "unreachable"], DOCKER_POOLS) == ("192.168.32.1/20", "a")


def test_an_old_address_is_kept_where_no_pool_has_room_or_sense() -> None:
    for pools in ([], [("x", 16)], [("172.17.0.0/16", 8)], [("172.17.0.0/16", 16)]):
        assert bridge_address("172.17.0.1/16", {"172.17.0.0/16": "a"}, [], pools) == ("172.17.0.1/16", "a")
