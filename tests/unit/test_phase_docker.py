"""The main Docker: its own command with our flags, whatever unit and drop-ins the host has."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys import dockerd
from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import Other
from deploys.operations.main_daemon import set_rule
from deploys.operations.restarts import Bounced
from deploys.phases import docker

from . import machines
from .harness import World
from .known import daemons
from .samples import lines

OURS = "/etc/systemd/system/docker.service.d/zz-docker-multinode.conf"
ONCE = "/run/systemd/system/docker.service.d/zzz-once.conf"
CE = """# /lib/systemd/system/docker.service
[Unit]
Description=Docker Application Container Engine
[Service]
Type=notify
# the default is not to use systemd for cgroups because the delegate issues still
ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
ExecReload=/bin/kill -s HUP $MAINPID""".splitlines()


def drop_in(path: str, *text: str) -> list[str]:
    """A drop-in as systemctl cat prints it."""
    return ["", f"# {path}", "[Service]", *text]


@pytest.mark.parametrize(
    ("unit", "command"),
    [
        (CE, "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"),
        (CE + drop_in(OURS, "ExecStart=", "ExecStart=/usr/bin/dockerd --bip=${FLANNEL_SUBNET}"),
         "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"),
        (CE + drop_in("/etc/systemd/system/docker.service.d/a.conf", "ExecStart=", "ExecStart=/usr/bin/dockerd -H x"),
         "/usr/bin/dockerd -H x"),
        (CE + drop_in(ONCE, "ExecStart=", "ExecStart=/usr/bin/dockerd --bip=172.17.0.1/16"),
         "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"),
        (CE + drop_in("/etc/systemd/system/docker.service.d/env.conf", "Environment=A=1"),
         "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"),
        (CE + drop_in(OURS, "ExecStart=", "ExecStart=/x") + drop_in("/run/z.conf", "ExecStart=", "ExecStart=/y"), "/y"),
        (["# /lib/systemd/system/docker.service", "ExecStart=/usr/bin/dockerd \\", "  -H fd:// \\", "  --a=1",
          "ExecReload=/bin/x"], "/usr/bin/dockerd -H fd:// --a=1"),
        (["# /lib/systemd/system/docker.service", "ExecStart=/usr/bin/dockerd \\", " # --debug \\", " -H x \\", "; no",
          " --a=1", "", "# /etc/systemd/system/docker.service.d/a.conf", "[Service]"], "/usr/bin/dockerd -H x --a=1"),
        (["# /lib/systemd/system/docker.service", "#ExecStart=/old \\", "ExecStart=/new"], "/new"),
        (["# /lib/systemd/system/docker.service", "ExecStart = /usr/bin/dockerd"], "/usr/bin/dockerd"),
        (CE + drop_in("/etc/systemd/system/docker.service.d/off.conf", "ExecStart="), None),
        (["# /lib/systemd/system/docker.service", "[Service]", "ExecStartPre=/bin/x"], None),
        ([], None),
    ],
    ids=["docker-ce", "with-ours", "foreign", "of-an-ended-turndown", "foreign-without-command", "foreign-after-ours",
         "continued", "comments-in-between", "comment-that-does-not-go-on", "spaced", "cleared", "none", "empty"],
)  # fmt: skip
def test_the_command_is_the_one_of_the_unit_and_foreign_drop_ins(unit: list[str], command: str | None) -> None:
    assert dockerd.command_of(tuple(unit), (OURS, ONCE)) == command


def test_the_command_of_debians_unit_is_the_same_before_and_after_our_drop_in() -> None:
    debian = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS"
    for sample in ("platform-fresh-docker26", "platform-fresh-docker28", "platform-master", "platform-worker"):
        text = lines(sample)
        start = text.index("== docker-unit") + 1
        unit = text[start : text.index("== foreign-kubernetes")]
        assert dockerd.command_of(tuple(unit), (OURS, ONCE)) == debian, sample


def node(**machine: Any) -> Any:
    """A master on such a machine."""
    data = machine.pop("data", {})
    return World(data=data, platforms={"m1": machines.found("m1", "10.0.0.11", **machine)}).node()


BASE = ("--ip-masq=false", "--userland-proxy=false", "--log-opt=max-size=10m", "--log-opt=max-file=3")


def test_docker_26_gets_no_flag_that_it_does_not_know() -> None:
    assert dockerd.flags(node()) == BASE
    assert dockerd.asked_for(node()) == ()
    assert not dockerd.drops_routed(node())


def test_docker_28_5_is_told_to_let_routed_packets_in() -> None:
    late = node(sample="platform-fresh-docker28")
    assert dockerd.flags(late) == BASE
    assert dockerd.asked_for(late) == ("--allow-direct-routing",)
    assert "--allow-direct-routing" in docker.running_flags(late)


HELP = "      --add-runtime runtime   Register one\n      --allow-direct-routing  Allow --allow-direct-routing\n"


@pytest.mark.parametrize(
    ("says", "daemon_json", "flag"),
    [(HELP, "", "--allow-direct-routing"), (HELP, '{"allow-direct-routing": true}', ""), ("--add-runtime", "", ""),
     (None, "", "")],
)  # fmt: skip
def test_the_docker_that_starts_is_asked_whether_it_knows_the_flag(
    tmp_path: Path, says: str | None, daemon_json: str, flag: str
) -> None:
    program, config, run = tmp_path / "dockerd", tmp_path / "daemon.json", tmp_path / "run"
    if says is not None:
        program.write_text(f"#!/bin/sh\ncat << .\n{says}.\n")
        program.chmod(0o755)
    config.write_text(daemon_json)
    text = docker.drop_in(node()).content.replace("\\\n", " ")
    line = next(line for line in text.splitlines() if line.startswith("ExecStartPre=-/bin/sh -c "))
    for was, there in (("/usr/sbin/dockerd", program), ("/etc/docker/daemon.json", config), ("/run/flannel", run)):
        line = line.replace(was, str(there))
    script = shlex.split(line.partition("=-")[2])[2].replace("$$", "$")  # as systemd reads it
    subprocess.run(["sh", "-c", script], check=True)
    assert (run / "docker-flags").read_text() == f"DIRECT_ROUTING={flag}\n"


LET_IN = [
    "-s 10.1.0.0/16 -i flannel.1 -o docker0",
    "-o docker0 -m mark --mark 0x4000/0x4000",
    "-o docker0 -m conntrack --ctstate DNAT --ctorigdstport 30000:32767",
]
COMMENT = "-m comment --comment docker-multinode -j ACCEPT"


@pytest.mark.parametrize("sample", ["platform-fresh-docker26", "platform-fresh-docker28"])
def test_pods_of_others_and_services_are_let_in_and_a_docker_that_can_not_set_that_starts_all_the_same(
    sample: str,
) -> None:
    commands = [line for line in docker.drop_in(node(sample=sample)).content.splitlines() if "iptables" in line]
    rules = [f"DOCKER-USER {what} {COMMENT}" for what in LET_IN]
    assert commands == [f"ExecStartPost=-/bin/sh -c '{set_rule(rule)}'" for rule in rules]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"flannel_backend": "host-gw"}, "-s 10.1.0.0/16 -o docker0"),
        ({"flannel_network": "10.244.0.0/16"}, "-s 10.244.0.0/16 -i flannel.1 -o docker0"),
        ({"apiserver_extra_args": {"service-node-port-range": "80-999"}}, "--ctorigdstport 80:999"),
        ({"apiserver_extra_args": {"service-node-port-range": "080+9"}}, "--ctorigdstport 80:89"),
        ({"apiserver_extra_args": {"service-node-port-range": "80-80"}}, "--ctorigdstport 80"),
        ({"apiserver_extra_args": {"service-node-port-range": "80"}}, "--ctorigdstport 80"),
        ({"apiserver_extra_args": {"service-node-port-range": "x"}}, "--ctorigdstport 30000:32767"),
    ],
)
def test_what_is_let_in_follows_the_settings(data: dict[str, Any], rule: str) -> None:
    assert f"{rule} {COMMENT}" in docker.drop_in(node(data=data)).content


@pytest.mark.parametrize(
    ("said", "version", "drops"),
    [("26.1.5+dfsg1", "26.1.5", False), ("28.2.0", "28.2.0", True), ("28.5.2+dfsg4", "28.5.2", True),
     ("27.5.1-1~debian", "27.5.1", False), ("29.0.0-rc.1", "29.0.0", True), ("dev", "0", False), ("", "0", False)],
)  # fmt: skip
def test_versions_as_distributions_write_them(said: str, version: str, drops: bool) -> None:
    host = node(docker=said)
    assert str(dockerd.docker_version(host)) == version
    assert dockerd.drops_routed(host) is drops


def test_what_daemon_json_says_already_is_left_to_it() -> None:
    flags = dockerd.flags(node(daemon_json={"userland-proxy": False, "log-opts": {"max-size": "1m"}}))
    assert flags == ("--ip-masq=false",)
    late = node(sample="platform-fresh-docker28", daemon_json={"allow-direct-routing": True})
    assert dockerd.asked_for(late) == ()


def test_a_key_of_daemon_json_whose_flag_our_drop_in_still_has_is_known() -> None:
    told = {"daemon_json": {"log-opts": {}, "userland-proxy": False}}
    for flags, twice in (
        ("--bip=x --log-opt=max-size=10m --log-opt=max-file=3", ["log-opts"]),
        ("--userland-proxy=false --allow-direct-routing", ["userland-proxy"]),
        ("--ip-masq=false", []),
    ):
        unit = "\n".join(CE + drop_in(OURS, "ExecStart=", f"ExecStart=/usr/bin/dockerd {flags}"))
        assert dockerd.told_twice(node(docker_unit=unit, **told)) == twice
    assert dockerd.told_twice(node(docker_unit=unit)) == dockerd.told_twice(node(docker_unit="", **told)) == []


def test_docker_masquerades_where_flannel_does_not() -> None:
    assert "--ip-masq=true" in dockerd.flags(node(data={"flannel_ipmasq": False}))


def test_the_drop_in_is_text_that_does_not_change_with_the_subnet() -> None:
    text = docker.drop_in(node()).content
    assert "EnvironmentFile=/var/lib/docker-multinode/subnet.env" in text
    assert "--bip=${FLANNEL_SUBNET} --mtu=${FLANNEL_MTU}" in text
    assert 'RequiresMountsFor="/var/lib/docker" "/var/lib/docker-multinode" "/var/lib/kubelet"\n' in text
    lines_ = text.splitlines()
    assert lines_.index("ExecStart=") + 1 == next(i for i, x in enumerate(lines_) if x.startswith("ExecStart=/"))
    after = node(subnet__env="FLANNEL_SUBNET=10.1.7.1/24")
    assert docker.drop_in(after).content == text


def test_docker_is_started_again_however_often_it_dies() -> None:
    unit, _, service = docker.drop_in(node()).content.partition("[Service]\n")
    assert "\n[Unit]\n" in unit
    assert "\nStartLimitIntervalSec=0\n" in unit
    assert "StartLimit" not in service


OTHERS = (Other("web", "no", False), Other("tmp", "no", True), Other("db", "always", False), Other("old", "", False))


def test_containers_of_others_that_a_restart_bounces_and_those_that_stay_down() -> None:
    world = World(facts={DaemonsFact: daemons(main={"running_others": OTHERS})})
    with world.on():
        assert docker.bounced(world.node()) == Bounced(("db", "old", "tmp", "web"), ("old", "web"), ("tmp",))


def test_containers_whose_ports_only_dockers_proxy_carries_over_ipv6() -> None:
    others = (Other("db", "always", False), Other("web", "always", False, proxied=True))
    world = World(facts={DaemonsFact: daemons(main={"running_others": others})})
    with world.on():
        assert docker.bounced(world.node()).proxied == ("web",)


def test_a_restart_is_due_before_the_first_run_and_after_a_change_of_flags_only() -> None:
    record = "FLANNEL_SUBNET=10.1.1.1/24"
    for machine, due in (({}, True), ({"subnet__env": record}, False)):
        world = World(platforms={"m1": machines.found("m1", "10.0.0.11", **machine)}, facts={DaemonsFact: daemons()})
        with world.on() as host:
            assert docker.restart_due(world.node(host.name)) is due
    world = World(data={"flannel_ipmasq": False}, facts={DaemonsFact: daemons()},
                  platforms={"m1": machines.found("m1", "10.0.0.11", subnet__env=record)})  # fmt: skip
    with world.on() as host:
        assert docker.restart_due(world.node(host.name))


def test_a_restart_is_due_after_a_change_of_the_packet_size() -> None:
    record = "FLANNEL_SUBNET=10.1.1.1/24"
    jumbo = "2: eth0: <UP> mtu 9000 qdisc noqueue"
    for data, links, due in ((({}), jumbo, True), ({"flannel_backend": "host-gw"}, None, True), ({}, None, False)):
        machine = {"subnet__env": record, **({"links": links} if links else {})}
        world = World(data=data, facts={DaemonsFact: daemons()},
                      platforms={"m1": machines.found("m1", "10.0.0.11", **machine)})  # fmt: skip
        with world.on() as host:
            assert docker.restart_due(world.node(host.name)) is due
