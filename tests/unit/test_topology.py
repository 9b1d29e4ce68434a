"""The inventory as a cluster: names, addresses, roles."""

from __future__ import annotations

import pytest
from pyinfra.api import DeployError

from deploys.run_nodes import active_nodes
from deploys.topology import role_of, the_first_master

from . import machines
from .harness import World


def test_a_node_is_what_its_host_says_of_itself() -> None:
    world = World(masters=["m1"], workers=["w1"], platforms={"w1": machines.found("Pi-1.LAN", "10.0.0.12")})
    node = world.node("w1")
    assert (node.role, node.name, node.address, node.interface.name) == ("worker", "pi-1.lan", "10.0.0.12", "eth0")
    assert (node.arch, node.restart.init, node.release.minor) == ("amd64", "systemd", "1.37")
    assert (node.is_master, node.is_first_master, node.first_master.name) == (False, False, "m1")
    assert node.docker_root == "/var/lib/docker"
    assert node.service_ip() == "10.96.0.1"


def test_nodes_reach_the_master_at_its_address_or_at_the_one_that_is_set() -> None:
    world = World(workers=["w1"])
    assert world.node("w1").master_address == world.node("m1").master_address == "10.0.0.11"
    assert World(workers=["w1"], data={"master_ip": "10.9.9.9"}).node("w1").master_address == "10.9.9.9"


def test_a_master_with_a_chosen_address_is_reached_there_by_its_workers() -> None:
    two = {"addresses": "2: eth0 inet 10.0.0.11/24 x\n3: eth1 inet 10.7.0.11/24 x", "links": "3: eth1: <UP> mtu 9000"}
    world = World(masters={"m1": {"net_interface": "eth1"}}, workers=["w1"],
                  platforms={"m1": machines.found("m1", "10.0.0.11", **two)})  # fmt: skip
    assert (world.node("m1").address, world.node("m1").interface.mtu) == ("10.7.0.11", 9000)
    assert world.node("w1").master_address == "10.7.0.11"


def test_node_name_and_ip_address_of_the_host_data_win() -> None:
    two = {"addresses": "2: eth0 inet 10.0.0.12/24 x\n2: eth0 inet 10.7.0.12/24 x secondary"}
    world = World(workers={"w1": {"node_name": "pi", "ip_address": "10.7.0.12"}},
                  platforms={"w1": machines.found("w1", "10.0.0.12", **two)})  # fmt: skip
    assert (world.node("w1").name, world.node("w1").address) == ("pi", "10.7.0.12")


def test_a_32_bit_system_on_a_64_bit_kernel_may_be_named() -> None:
    pi = {"m1": machines.found("m1", "10.0.0.11", machine="aarch64")}
    assert World(platforms=dict(pi)).node().arch == "arm64"
    assert World(platforms=dict(pi), data={"arch": "arm"}).node().arch == "arm"


@pytest.mark.parametrize(
    ("machine", "docker", "arch"),
    [("aarch64", "arm", "arm"), ("x86_64", "386", "386"), ("aarch64", "arm64", "arm64"), ("aarch64", "?", "arm64")],
)
def test_a_32_bit_system_on_a_64_bit_kernel_is_known_by_its_docker(machine: str, docker: str, arch: str) -> None:
    pi = {"m1": machines.found("m1", "10.0.0.11", machine=machine, docker_arch=docker)}
    assert World(platforms=dict(pi)).node().arch == arch
    if arch == "arm":
        with pytest.raises(DeployError, match=r"arch is set to arm64, but the host is aarch64 \(arm\)"):
            World(platforms=dict(pi), data={"arch": "arm64"}).node()


def test_images_keep_their_path_in_another_registry() -> None:
    upstream, mine = World().node(), World(data={"image_registry": "r.lan:5000/k8s"}).node()
    for reference, moved in (("registry.k8s.io/coredns/coredns:v1", "r.lan:5000/k8s/coredns/coredns:v1"),
                             ("docker.io/library/debian:12", "r.lan:5000/k8s/library/debian:12")):  # fmt: skip
        assert upstream.image(reference) == reference
        assert mine.image(reference) == moved


def test_roles_are_groups() -> None:
    world = World(masters=["m1"], workers=["w1"])
    with world.on():
        assert (role_of(world.host("m1")), role_of(world.host("w1"))) == ("master", "worker")
        assert the_first_master() is world.host("m1")


def test_without_a_master_the_sentence_shows_what_to_write() -> None:
    world = World(masters=[], workers=["w1"])
    with world.on("w1"), pytest.raises(DeployError, match=r'no group `masters`.*masters = \["192.168.1.10"\]'):
        the_first_master()


def test_several_masters_are_a_clear_not_yet() -> None:
    world = World(masters=["m2", "m1"])
    with world.on(), pytest.raises(DeployError, match=r"2 masters \(m1, m2\); several masters are not supported yet"):
        the_first_master()


def test_the_nodes_of_a_run_are_masters_first_then_in_the_inventorys_order() -> None:
    world = World(masters=["z"], workers=["b", "a", "c"])
    with world.on("a"):
        assert [n.host.name for n in active_nodes()] == ["z", "b", "a", "c"]
        assert [n.name for n in active_nodes()] == ["z", "b", "a", "c"]


def test_each_host_is_asked_once_for_a_whole_run() -> None:
    world = World(masters=["m1"], workers=["w1", "w2"])
    for name in ("m1", "w1", "w2"):
        with world.on(name):
            active_nodes()
    assert sorted(world.asked) == ["Platform of m1", "Platform of w1", "Platform of w2"]


@pytest.mark.parametrize(("name", "refused"), [("br-lan", False), ("br-ex", False), ("br-0123456789ab", True)])
def test_a_bridge_is_the_interface_of_a_node_unless_it_is_of_a_docker_network(name: str, refused: bool) -> None:
    found = machines.found("m1", "10.0.0.11", addresses=f"24: {name}    inet 10.0.0.11/24 scope global {name}")
    here = World(data={"ip_address": "10.0.0.11"}, platforms={"m1": found})
    if refused:
        with pytest.raises(DeployError, match=f"10.0.0.11 on {name} is not an address that other nodes reach"):
            here.node()
    else:
        assert here.node().interface.name == name


@pytest.mark.parametrize(("name", "address"), [("veth12ab34", "10.0.0.11"), ("eth0", "169.254.7.1")])
def test_a_containers_link_and_an_address_of_the_link_alone_are_no_nodes(name: str, address: str) -> None:
    found = machines.found("m1", address, addresses=f"24: {name}    inet {address}/16 scope link {name}")
    with pytest.raises(DeployError, match=f"{address} on {name} is not an address that other nodes reach"):
        World(data={"ip_address": address}, platforms={"m1": found}).node()


def test_a_host_whose_data_is_wrong_is_named() -> None:
    world = World(workers={"w1": {"flannel_backend": "udp"}})
    with pytest.raises(DeployError, match=r"^w1: setting flannel_backend must be one of"):
        world.node("w1")
