"""flannel's container: what makes it another one, and when it is ready."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploys.operations.containers import Spec
from deploys.phases import etcd, flannel
from deploys.record import FLANNEL_RUN
from deploys.topology import Node

from . import machines
from .harness import World, called

SPEC = """\
image ghcr.io/flannel-io/flannel:{version}
revision backend vxlan
option --net=host
option --privileged
option --oom-score-adj=-997
option --restart=always
option -v
option /run/flannel:/run/flannel
option -v
option /run/xtables.lock:/run/xtables.lock
option -v
option /etc/kubernetes/pki/etcd:/etc/kubernetes/pki/etcd:ro
argument --etcd-endpoints=https://10.0.0.11:2379
argument --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt
argument --etcd-certfile=/etc/kubernetes/pki/etcd/flannel-client.crt
argument --etcd-keyfile=/etc/kubernetes/pki/etcd/flannel-client.key
argument --iface=10.0.0.12
argument --ip-masq=true
"""


def test_a_workers_flannel_asks_the_masters_etcd_with_its_own_certificate() -> None:
    node = World(workers=["w1"]).node("w1")
    assert flannel.spec(node).lines() == SPEC.format(version=node.release.flannel).splitlines()


def test_the_network_is_configured_by_the_first_master_before_any_subnet_is_taken() -> None:
    here = World(workers=["w1"], data={"flannel_network": "10.244.0.0/16"})
    master, worker = called(flannel, here), called(flannel, here, "w1")
    assert [name for name, _ in master] == ["network_configured", *(name for name, _ in worker)]
    assert json.loads(master[0][1]["config"]) == {
        "Network": "10.244.0.0/16", "SubnetLen": 24, "Backend": {"Type": "vxlan"},
    }  # fmt: skip


def test_flannel_runs_on_the_recorded_subnet_and_is_waited_for_where_either_is_new() -> None:
    recorded, taken, hint, runs, wait, size, links = called(flannel, World(workers=["w1"]), "w1")
    assert (recorded[0], recorded[1]["node"].name, recorded[1]["mtu"]) == ("subnet_recorded", "w1", 1450)
    assert taken[0] == "subnet_taken"
    assert hint == ("variant_hinted", {"spec": runs[1]["spec"]})
    assert (runs[0], runs[1]["daemon"], runs[1]["container"]) == ("container", "bootstrap", "flannel")
    assert runs[1]["renewed"] == ("/etc/kubernetes/pki/etcd/flannel-client.crt",)
    assert (wait[0], wait[1]["when"], wait[1]["limit"]) == ("wait_for", ["subnet_taken", "container"], 180)
    assert size == ("link_sized", {"link": "flannel.1", "mtu": 1450})
    assert links == ("no_links", {"links": []})


def test_another_backend_leaves_no_link_behind() -> None:
    here = World(data={"flannel_backend": "host-gw"})
    assert called(flannel, here)[-1] == ("no_links", {"links": ["flannel.1"]})
    assert "link_sized" not in dict(called(flannel, here)), "it has none of its own"


@pytest.mark.parametrize(("says", "variant"), [("legacy", ", iptables legacy"), ("nf_tables", "")])
def test_flannels_container_is_another_one_with_the_other_variant_of_iptables(says: str, variant: str) -> None:
    found = machines.found("m1", "10.0.0.11", iptables=f"iptables v1.8.9 ({says})")
    assert flannel.spec(World(platforms={"m1": found}).node()).revision == f"backend vxlan{variant}"


def test_flannels_masquerading_goes_where_docker_is_to_do_it() -> None:
    here = World(data={"flannel_ipmasq": False})
    assert called(flannel, here)[-1] == ("no_chains", {"prefixes": ("FLANNEL-POSTRTG",)})
    assert "no_chains" not in dict(called(flannel, World()))


def test_the_subnet_is_given_back_with_purge_data_only() -> None:
    kept = [name for name, _ in called(flannel, World(), removal=True)]
    assert kept == [
        "bootstrap_daemon_started", "no_container", "no_links", "no_routes", "no_chains", "no_directories",
    ]  # fmt: skip
    purged = called(flannel, World(data={"purge_data": True}), removal=True)
    assert [name for name, _ in purged] == [*kept, "subnet_released", "no_files"]
    assert purged[-1][1] == {"paths": ("/var/lib/docker-multinode/subnet.env",)}


def test_another_backend_replaces_the_container_which_reads_it_at_its_start_only() -> None:
    before, after = (flannel.spec(World(data={"flannel_backend": b}).node()) for b in ("vxlan", "host-gw"))
    assert before.lines() != after.lines()
    assert "revision backend host-gw" in after.lines()


@pytest.mark.parametrize("spec", [etcd.spec, flannel.spec])
def test_what_the_network_stands_on_is_ended_as_late_as_a_node_critical_pod_where_memory_runs_out(
    spec: Callable[[Node], Spec],
) -> None:
    assert "option --oom-score-adj=-997" in spec(World().node()).lines()


@pytest.mark.parametrize(
    ("written_after", "inspect", "ready"),
    [
        (1, "echo STARTED", True),
        (-1, "echo STARTED", False),  # by the flannel before, or copied from the record
        (1, "echo", False),  # it does not run
        (1, "false", False),  # it is not there
    ],
)
def test_flannel_is_ready_when_its_file_is_newer_than_its_start(
    written_after: int, inspect: str, ready: bool, tmp_path: Path
) -> None:
    now = dt.datetime.now(dt.UTC)
    (tmp_path / "subnet.env").touch()
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{inspect}\n".replace("STARTED", f"{now:%Y-%m-%dT%H:%M:%S.%f}789Z"))
    (tmp_path / "docker").chmod(0o755)
    at = (now + dt.timedelta(milliseconds=20 * written_after)).timestamp()
    os.utime(tmp_path / "subnet.env", (at, at))
    script = f"PATH={tmp_path}:$PATH; {flannel.READY.replace(FLANNEL_RUN, str(tmp_path))}"
    assert (subprocess.run(["sh", "-c", script], check=False).returncode == 0) is ready
