"""The main Docker put back as it was before us; docker0 gets its old address, or a free one if that was taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import HostFiles
from deploys.facts.leftovers import Leftovers
from deploys.operations.docker0 import docker0_recorded, main_daemon_restored
from deploys.operations.files import File
from deploys.operations.restarts import Bounced
from deploys.record import BEFORE, NODE, SUBNET_ENV

from . import machines
from .harness import Shell, Step, World
from .known import daemons, host_files, left

BIP = "10.1.1.1/24"
BEFORE_US = "172.17.0.1/16"
DROP_IN = "/d/zz.conf"
FRESH = "daemons-fresh"


def world(
    sample: str = "daemons-master", *ours: str, before: str = "", docker0: str | None = None, **more: Any
) -> World:
    """A host with these daemons and files; `networks`: subnet → name; the rest is of the main daemon."""
    networks, machine = more.pop("networks", {}), more.pop("machine", {})
    known = [File(SUBNET_ENV, f"FLANNEL_SUBNET={BIP}\n")] if SUBNET_ENV in ours else []
    facts = {
        DaemonsFact: replace(daemons(sample, docker0=docker0, main=more), docker0_before=before),
        HostFiles: host_files(*(File(path, "") for path in ours), *known),
        Leftovers: left(networks=networks),
    }
    return World(facts=facts, platforms={"m1": machines.found("m1", "10.0.0.11", **machine)})


def node_that_runs(**more: Any) -> World:
    """A node whose main Docker is on the pod network."""
    return world("daemons-master", SUBNET_ENV, NODE, DROP_IN, before=BEFORE_US, **more)


def restored(here: World, bounced: Bounced = Bounced()) -> list[Step]:  # noqa: B008
    """Put the main Docker back."""
    command = "/usr/bin/dockerd -H fd://"
    return here.run(main_daemon_restored, node=here.node(), command=command, drop_in=DROP_IN, bounced=bounced)


def text(here: World) -> str:
    """The one command."""
    (step,) = restored(here)
    assert isinstance(step, Shell)
    return step.text


def says(here: World, bounced: Bounced = Bounced()) -> str:  # noqa: B008
    """The plan."""
    return here.says(main_daemon_restored, node=here.node(), command="x", drop_in=DROP_IN, bounced=bounced)


def test_docker_is_restored_by_one_start_with_its_old_address_and_one_without_us() -> None:
    command = text(node_that_runs())
    assert command.startswith("systemctl daemon-reload; { units=$(")
    first, then = command.split("--bip=172.17.0.1/16", 1)
    assert "systemctl stop docker.socket 2>/dev/null; systemctl stop docker; { d=/run/systemd" in first
    assert "'/usr/bin/dockerd -H fd://'" in first
    # also where the first start failed: a docker that is down is worse than one with another address
    assert "systemctl stop docker.socket 2>/dev/null; systemctl stop docker; (systemctl reset-failed docker" in then
    assert "exit 1" not in then.split("systemctl stop docker.socket")[0]
    assert then.index("case $now in *' 172.17.0.1/16 '*) ;; *) ") < then.index(f"rm -f {BEFORE}/docker0")
    assert "once to give docker0 the address 172.17.0.1/16, then as it was before us" in says(node_that_runs())


def test_the_plan_of_a_turndown_names_the_containers_that_it_bounces() -> None:
    bounced = Bounced(("db", "web"), ("web",))
    assert "the running containers db, web" in says(node_that_runs(), bounced)


def test_what_a_turndown_stops_for_good_it_starts_again() -> None:
    first, then = text(node_that_runs()).split("( systemctl stop docker.socket", 1)
    assert "; down=$(" in first
    assert then.index("systemctl start docker)") < then.index("docker start $down")


def test_a_docker_that_runs_without_us_needs_no_restoring() -> None:
    here = world(FRESH)
    assert restored(here) == []
    assert here.noops == ["the main Docker runs without us"]


def test_a_docker_with_an_address_of_its_owners_choice_is_not_ours() -> None:
    here = world("daemons-master", command=("dockerd", "--bip=10.1.1.1/24"), needs_reload=True)
    assert restored(here) == []


def test_a_docker_that_an_ended_turndown_left_with_its_old_address_as_a_flag_is_restarted() -> None:
    here = world(FRESH, NODE, before=BEFORE_US, docker0=BEFORE_US, command=("dockerd", f"--bip={BEFORE_US}"))
    assert "systemctl stop docker" in text(here)


def test_what_a_run_recorded_that_ended_before_dockers_restart_is_removed() -> None:
    # docker0 may get another address of its owner's before the next run
    here, gone = world(FRESH, NODE, before=BEFORE_US, docker0=BEFORE_US), f"rm -f {BEFORE}/docker0"
    assert restored(here) == [Shell(gone)]
    assert f"Will remove {BEFORE}/docker0" in says(here)
    assert restored(world(FRESH, NODE, DROP_IN, before=BEFORE_US, docker0=BEFORE_US)) == [
        Shell(f"systemctl daemon-reload; {gone}")
    ]


@pytest.mark.parametrize(("before", "ours"), [(BEFORE_US, ()), ("", (DROP_IN,))])
def test_docker0s_address_is_recorded_once(before: str, ours: tuple[str, ...]) -> None:
    assert world(FRESH, *ours, before=before).run(docker0_recorded, drop_in=DROP_IN) == []


def test_docker0s_address_is_recorded_before_any_drop_in_is_there() -> None:
    here, path = world(FRESH), f"{BEFORE}/docker0"
    assert here.run(docker0_recorded, drop_in=DROP_IN) == [
        Shell(
            f"[ -e {path} ] || {{ mkdir -p {BEFORE} && printf '%s\\n' 172.17.0.1/16 > {path}.new && sync {path}.new && "
            f"mv -f {path}.new {path} && sync {BEFORE}; }}"
        )
    ]
    assert f"Will record in {path} the address that docker0 has: 172.17.0.1/16" in here.says(
        docker0_recorded, drop_in=DROP_IN
    )


def test_a_drop_in_that_docker_never_ran_with_needs_no_restart() -> None:
    here = world(FRESH, NODE, DROP_IN)
    assert restored(here) == [Shell("systemctl daemon-reload")]
    assert "docker is not restarted" in says(here)
    assert restored(world(FRESH, NODE, needs_reload=True)) == [Shell("systemctl daemon-reload")]


def test_a_docker0_that_kept_our_address_is_restored_also_where_docker_runs_without_us_or_not_at_all() -> None:
    for active in (True, False):
        here = world(FRESH, NODE, before=BEFORE_US, docker0=BIP, active=active)
        assert "--bip=172.17.0.1/16" in text(here)


def test_an_address_that_a_network_has_taken_since_is_not_asked_for_again() -> None:
    networks = {"172.17.0.0/16": "shop_default", "172.18.0.0/16": "own", "fd00::/64": "six"}
    machine = {"routes": "default via 10.0.0.1 dev eth0\n172.19.0.0/24 dev tun0"}
    here = node_that_runs(networks=networks, machine=machine)
    assert "--bip=172.20.0.1/16" in text(here)
    said = says(here)
    assert "once to give docker0 the address 172.20.0.1/16" in said
    assert "docker0 had 172.17.0.1/16 before us, which Docker's network shop_default has by now" in said
    # and afterwards nothing is left to do
    done: dict[str, Any] = {"docker0": "172.20.0.1/16", "networks": networks, "machine": machine}
    assert restored(world(FRESH, NODE, **done)) == []


def test_another_address_is_of_the_pools_that_docker_is_set_to() -> None:
    pools = {"default-address-pools": [{"base": "10.200.0.0/16", "size": 24}, "garbage", {"base": 1}]}
    here = node_that_runs(networks={"172.17.0.0/16": "shop"}, machine={"daemon_json": pools})
    assert "--bip=10.200.0.1/24" in text(here)
