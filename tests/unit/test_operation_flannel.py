"""flannel: its network in etcd; a node's subnet is reserved, recorded, and what flannel took is compared."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import ETCDCTL, EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.kubernetes import ClusterNodes, NodeState
from deploys.operations.containers import Spec
from deploys.operations.files import File
from deploys.operations.flannel import (
    link_sized,
    network_configured,
    subnet_recorded,
    subnet_released,
    subnet_taken,
    variant_hinted,
)
from deploys.record import SUBNET_ENV
from deploys.subnets import subnet_in

from . import machines
from .harness import Fails, Member, OnMaster, Shell, Step, World
from .known import daemons, host_files, running
from .test_scripts import program, sh

CONFIG = json.dumps({"Network": "10.1.0.0/16", "SubnetLen": 24})
TEXT = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.{}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
COPY = f"mkdir -p /run/flannel && cp {SUBNET_ENV} /run/flannel/subnet.env"


def etcd(reservations: dict[str, str] | None = None, leases: dict[str, str] | None = None) -> Subnets:
    """An etcd that answers."""
    return Subnets(True, CONFIG, reservations or {}, leases or {})


def world(
    known: Subnets,
    record: str = "",
    at_run_time: str = "",
    *,
    flannel: bool = False,
    nodes: dict[str, NodeState] | None = None,
) -> World:
    """A master m1 and a worker w1 whose record is given."""
    files = host_files(*([File(SUBNET_ENV, record)] if record else []),
                       subnet_env={"FLANNEL_SUBNET": at_run_time} if at_run_time else {})  # fmt: skip
    found = daemons(bootstrap={} if flannel else {"containers": {}})
    return World(workers=["w1"], facts={EtcdSubnets: known, HostFiles: files, DaemonsFact: found, ClusterNodes: nodes})


def sized(mtu: int | None) -> World:
    """A host whose flannel.1 has this packet size."""
    link = {"addresses": "3: eth0    inet 10.0.0.11/24 scope global eth0"}
    if mtu:
        link["addresses"] += "\n9: flannel.1    inet 10.1.1.0/32 scope global flannel.1"
        link["links"] = f"3: eth0: <UP> mtu 1500 state UP\n9: flannel.1: <UP> mtu {mtu} state UNKNOWN"
    return World(platforms={"m1": machines.found("m1", "10.0.0.11", **link)})


def test_a_link_that_flannel_kept_gets_the_packet_size_of_the_pod_network() -> None:
    here = sized(1450)
    assert here.run(link_sized, link="flannel.1", mtu=1350) == [Shell("ip link set dev flannel.1 mtu 1350")]
    assert "1350 instead of 1450" in here.says(link_sized, link="flannel.1", mtu=1350)


@pytest.mark.parametrize("mtu", [1350, None], ids=["fits", "is not there yet"])
def test_a_link_that_fits_or_is_not_there_is_left_alone(mtu: int | None) -> None:
    assert sized(mtu).run(link_sized, link="flannel.1", mtu=1350) == []


def test_flannels_network_is_configured_once_whatever_the_order_of_its_fields() -> None:
    same = json.dumps({"SubnetLen": 24, "Network": "10.1.0.0/16"})
    assert world(etcd()).run(network_configured, config=same) == []


def test_another_network_configuration_is_put_and_the_plan_shows_both() -> None:
    new = json.dumps({"Network": "10.2.0.0/16"})
    here = world(etcd())
    assert here.run(network_configured, config=new) == [Shell(f"{ETCDCTL} put /coreos.com/network/config '{new}'")]
    said = here.says(network_configured, config=new)
    assert f"-{CONFIG}" in said
    assert f"+{new}" in said


def test_a_first_configuration_is_put() -> None:
    assert len(world(Subnets(False, "")).run(network_configured, config=CONFIG)) == 1


def test_a_configuration_in_etcd_that_is_no_json_is_replaced() -> None:
    assert len(world(Subnets(True, "{")).run(network_configured, config=CONFIG)) == 1


def test_recorded_reads_the_network_of_a_subnet_env() -> None:
    assert subnet_in(TEXT.format(7)) == "10.1.7.0/24"
    assert subnet_in("") is None
    assert subnet_in("FLANNEL_MTU=1") is None


def record_of(here: World, on: str = "w1") -> list[Step]:
    """Run the operation that reserves and records."""
    return here.run(subnet_recorded, on=on, node=here.node(on), mtu=1450)


def transaction(step: Step) -> list[str]:
    """What etcdctl gets to read, by the shell's own word."""
    assert isinstance(step, OnMaster)
    assert step.host == "m1"
    printf = step.text.partition("done=$(")[2].partition(" | ")[0]
    return subprocess.run(["sh", "-c", printf], capture_output=True, text=True, check=True).stdout.split("\n")


def test_a_new_node_reserves_the_next_free_subnet_and_records_it() -> None:
    reserve, write = record_of(world(etcd({"m1": "10.1.1.0/24"})))
    key = "/docker-multinode/subnets/10.1.2.0-24"
    assert transaction(reserve) == [f'version("{key}") = "0"', "", f"put {key} w1", "", "", ""]
    assert isinstance(write, Shell)
    assert write.written == {SUBNET_ENV: Member("644", TEXT.format(2))}


def test_a_recorded_and_reserved_subnet_stays() -> None:
    here = world(etcd({"m1": "10.1.1.0/24", "w1": "10.1.2.0/24"}), TEXT.format(2))
    assert record_of(here) == []
    assert here.noops == ["the node has 10.1.2.0/24"]


def test_the_record_beats_another_reservation() -> None:
    (step,) = record_of(world(etcd({"w1": "10.1.2.0/24"}), TEXT.format(9)))
    prefix = "/docker-multinode/subnets"
    assert transaction(step)[2:4] == [f"put {prefix}/10.1.9.0-24 w1", f"del {prefix}/10.1.2.0-24"]


@pytest.mark.parametrize(
    ("etcdctl", "code", "said"),
    [
        ("echo SUCCESS; echo OK", 0, ""),
        ("echo FAILURE", 1, "another run has given 10.1.2.0/24 to another node meanwhile; run this again\n"),
        ("echo no leader >&2; false", 1, "no leader\n"),
    ],
)
def test_a_subnet_that_another_run_took_meanwhile_is_not_taken(etcdctl: str, code: int, said: str) -> None:
    reserve, _ = record_of(world(etcd({"m1": "10.1.1.0/24"})))
    assert isinstance(reserve, OnMaster)
    text = reserve.text.replace(f"{ETCDCTL} txn", f"{{ cat >/dev/null; {etcdctl}; }}")
    ran = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (code, said)


def test_a_lost_record_is_written_from_the_reservation() -> None:
    (step,) = record_of(world(etcd({"w1": "10.1.5.0/24"})))
    assert isinstance(step, Shell)
    assert step.written == {SUBNET_ENV: Member("644", TEXT.format(5))}


def test_a_subnet_that_is_another_nodes_fails_the_host_with_the_way_out() -> None:
    (step,) = record_of(world(etcd({"n9": "10.1.2.0/24"}), TEXT.format(2)))
    assert isinstance(step, Fails)
    assert "reserved for node n9" in step.reason
    assert "purge_data=true" in step.reason


def test_the_plan_names_the_subnet() -> None:
    here = world(etcd({"m1": "10.1.1.0/24"}))
    said = here.says(subnet_recorded, on="w1", node=here.node("w1"), mtu=1450)
    assert "Will reserve 10.1.2.0/24 for node w1 in etcd" in said
    assert "+ FLANNEL_SUBNET=10.1.2.1/24" in said


def test_hosts_of_one_run_plan_different_subnets_in_the_order_of_the_inventory() -> None:
    facts = {EtcdSubnets: Subnets(False, ""), HostFiles: host_files(), DaemonsFact: daemons("daemons-fresh")}
    here = World(masters=["m1"], workers=["w2", "w1"], facts=facts)
    planned = {n: here.says(subnet_recorded, on=n, node=here.node(n), mtu=1450) for n in ("m1", "w1", "w2")}
    assert "10.1.1.0/24" in planned["m1"]
    assert "10.1.2.0/24" in planned["w2"]
    assert "10.1.3.0/24" in planned["w1"]


def test_a_record_that_another_host_of_the_run_told_is_not_given_away() -> None:
    facts = {EtcdSubnets: Subnets(False, ""), HostFiles: host_files(), DaemonsFact: daemons("daemons-fresh")}
    told = {"m1": machines.found("m1", "10.0.0.11", subnet__env=TEXT.format(2))}
    here = World(workers=["w1"], facts=facts, platforms=told)
    assert "10.1.1.0/24" in here.says(subnet_recorded, on="w1", node=here.node("w1"), mtu=1450)


def test_what_an_etcd_that_should_answer_has_is_unknown() -> None:
    facts = {EtcdSubnets: Subnets(False, ""), HostFiles: host_files(File(SUBNET_ENV, TEXT.format(2))),
             DaemonsFact: daemons()}  # fmt: skip
    here = World(workers=["w1"], facts=facts)
    assert here.says(network_configured, config=CONFIG) == (
        "[m1] Unknown whether flannel's network is configured, etcd does not answer"
    )
    said = here.says(subnet_recorded, on="w1", node=here.node("w1"), mtu=1450)
    assert said == "[w1] Unknown whether 10.1.2.0/24 is reserved for node w1, etcd does not answer"


def taken(here: World) -> list[Step]:
    """Run the operation that compares what flannel took."""
    return here.run(subnet_taken, on="w1", node=here.node("w1"))


def test_flannel_with_the_recorded_subnet_is_left_alone() -> None:
    here = world(etcd({}, {"10.0.0.12": "10.1.2.0/24"}), TEXT.format(2), "10.1.2.1/24", flannel=True)
    assert taken(here) == []


def test_flannel_gets_the_recorded_subnet_before_it_first_runs() -> None:
    assert taken(world(etcd(), TEXT.format(2))) == [Shell(COPY)]


def test_a_lease_of_another_subnet_is_deleted_and_flannel_restarted() -> None:
    lease = world(etcd({}, {"10.0.0.12": "10.1.8.0/24"}), TEXT.format(2), "10.1.8.1/24", flannel=True)
    delete, again = taken(lease)
    assert delete == OnMaster(
        "m1", f"{ETCDCTL} del /coreos.com/network/subnets/10.1.8.0-24", "deleting the lease 10.1.8.0/24"
    )
    assert again == Shell(f"{COPY}; docker -H unix:///run/docker-bootstrap.sock restart -t 5 flannel >/dev/null")


@pytest.mark.parametrize(
    ("leases", "flannel", "deleted"),
    [
        ({"10.0.0.99": "10.1.2.0/24"}, False, ["10.1.2.0-24"]),
        ({"10.0.0.99": "10.1.2.0/24", "10.0.0.12": "10.1.77.0/24"}, True, ["10.1.77.0-24", "10.1.2.0-24"]),
    ],
)
def test_a_lease_of_the_nodes_subnet_by_an_address_that_it_had_is_deleted(
    leases: dict[str, str], flannel: bool, deleted: list[str]
) -> None:
    here = world(etcd({"w1": "10.1.2.0/24"}, leases), TEXT.format(2), "10.1.2.1/24", flannel=flannel)
    *deletes, give = taken(here)
    assert [d.text.rsplit("/", 1)[1] for d in deletes if isinstance(d, OnMaster)] == deleted
    assert isinstance(give, Shell)
    assert ("restart" in give.text) is flannel
    said = here.says(subnet_taken, on="w1", node=here.node("w1"))
    assert "Will delete the lease 10.1.2.0/24 of 10.0.0.99: it is the subnet of node w1" in said


def test_a_lease_that_someone_deleted_is_taken_again() -> None:
    lost = world(etcd(), TEXT.format(2), "10.1.2.1/24", flannel=True)
    assert len(taken(lost)) == 1


@pytest.mark.parametrize(
    ("told", "has", "restarts"),
    [("aa:bb:cc:dd:ee:01", "aa:bb:cc:dd:ee:02", 1), ("aa:bb:cc:dd:ee:01", "aa:bb:cc:dd:ee:01", 0), ("", "x", 0),
     ("aa:bb:cc:dd:ee:01", "", 0)],
)  # fmt: skip
def test_flannel_is_restarted_where_its_link_was_made_anew_and_nobody_knows(told: str, has: str, restarts: int) -> None:
    known = replace(
        etcd({"w1": "10.1.2.0/24"}, {"10.0.0.12": "10.1.2.0/24"}), hardware={"10.0.0.12": told} if told else {}
    )
    here = world(known, TEXT.format(2), "10.1.2.1/24", flannel=True)
    links = (
        f"2: eth0: <UP> mtu 1500\\    link/ether 1:2 brd ff\n7: flannel.1: <UP> mtu 1450 \\    link/ether {has} brd ff"
    )
    here.platforms["w1"] = machines.found("w1", "10.0.0.12", links=links if has else "2: eth0: <UP> mtu 1500")
    steps = taken(here)
    assert len(steps) == restarts
    if restarts:
        assert "restart -t 5 flannel" in steps[0].text  # type: ignore[union-attr]
        said = here.says(subnet_taken, on="w1", node=here.node("w1"))
        assert f"flannel.1 has the hardware address {has}, and other nodes were told {told}" in said


def test_a_lease_tells_the_hardware_address_of_its_nodes_link() -> None:
    row = {"PublicIP": "10.0.0.12", "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC": "AA:bb:cc:dd:ee:01"}}
    for data, mac in ((row, {"10.0.0.12": "aa:bb:cc:dd:ee:01"}), ({**row, "BackendData": None}, {})):
        pairs = {"/coreos.com/network/subnets/10.1.2.0-24": json.dumps(data)}
        kvs = [{"key": base64.b64encode(k.encode()).decode(), "value": base64.b64encode(v.encode()).decode()}
               for k, v in pairs.items()]  # fmt: skip
        assert EtcdSubnets().process(["== keys", json.dumps({"kvs": kvs}), "== end"]).hardware == mac


def test_a_lease_that_can_not_be_seen_is_not_called_lost() -> None:
    assert taken(world(Subnets(False, ""), TEXT.format(2), "10.1.2.1/24", flannel=True)) == []


def test_flannel_is_told_the_hosts_variant_of_iptables_before_its_container_is_created(tmp_path: Path) -> None:
    spec = Spec("r/flannel:1")
    (step,) = World(facts={DaemonsFact: daemons("daemons-fresh")}).run(variant_hinted, spec=spec)
    assert isinstance(step, Shell)
    for there, asked in (("true", ["-S"]), ("[ $4 != -S ]", ["-S", "-N"])):
        program(tmp_path, "iptables", f'echo "$*" >> {tmp_path}/did; {there}')
        assert sh(step.text, path=str(tmp_path)).returncode == 0
        did = (tmp_path / "did").read_text().splitlines()
        assert did == [f"-w -t mangle {verb} KUBE-IPTABLES-HINT" for verb in asked]
        (tmp_path / "did").unlink()
    for have, steps in ((spec, 0), (Spec("r/flannel:0"), 1)):
        known = {DaemonsFact: daemons(bootstrap={"containers": {"flannel": running("flannel", have)}})}
        assert len(World(facts=known).run(variant_hinted, spec=spec)) == steps


def test_a_subnet_is_given_back_with_its_lease() -> None:
    here = world(etcd({"w1": "10.1.2.0/24"}, {"10.0.0.12": "10.1.2.0/24"}), TEXT.format(2))
    assert here.run(subnet_released, on="w1", node=here.node("w1")) == [
        OnMaster(
            "m1",
            f"{ETCDCTL} del /docker-multinode/subnets/10.1.2.0-24 && "
            f"{ETCDCTL} del /coreos.com/network/subnets/10.1.2.0-24",
            "giving the subnet back",
        )
    ]


def test_a_subnet_is_given_back_by_the_name_and_address_with_which_the_node_joined() -> None:
    known = etcd({"old": "10.1.2.0/24", "w1": "10.1.3.0/24"}, {"10.0.0.50": "10.1.2.0/24", "10.0.0.12": "10.1.3.0/24"})
    here = world(known, TEXT.format(2))
    record = {"name": "old", "address": "10.0.0.50"}
    here.platforms["w1"] = machines.found("w1", "10.0.0.12", record=record)
    (step,) = here.run(subnet_released, on="w1", node=here.node("w1"))
    assert isinstance(step, OnMaster)
    assert [word for word in step.text.split() if word.endswith("-24")] == [
        "/docker-multinode/subnets/10.1.2.0-24", "/coreos.com/network/subnets/10.1.2.0-24"]  # fmt: skip


def test_a_machine_that_was_replaced_leaves_its_successor_the_subnet() -> None:
    known = etcd({"w1": "10.1.2.0/24"}, {"10.0.0.12": "10.1.2.0/24"})
    for machine, gives in (("c" * 32, 0), (machines.found().machine_id, 1)):
        here = world(known, TEXT.format(2), nodes={"w1": NodeState(True, machine, "10.0.0.12")})
        assert len(here.run(subnet_released, on="w1", node=here.node("w1"))) == gives


def test_a_copy_of_a_machine_leaves_the_node_its_subnet() -> None:
    known = etcd({"w1": "10.1.2.0/24"}, {"10.0.0.11": "10.1.2.0/24"})
    original = NodeState(True, machines.found().machine_id, "10.0.0.99", boot_id="another")
    here = world(known, TEXT.format(2), nodes={"w1": original})
    assert here.run(subnet_released, on="w1", node=here.node("w1")) == []


def test_a_host_without_a_record_gives_no_subnet_back() -> None:
    here = world(etcd({"w1": "10.1.2.0/24"}, {"10.0.0.12": "10.1.2.0/24"}))
    assert here.run(subnet_released, on="w1", node=here.node("w1")) == []


def test_a_subnet_that_etcd_does_not_know_is_not_given_back() -> None:
    here = world(etcd(), TEXT.format(2))
    assert here.run(subnet_released, on="w1", node=here.node("w1")) == []
    assert here.noops == ["etcd knows no subnet of this node"]
