"""The two daemons: started, restarted only when they must be, and what is done when they do not come up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.operations.daemons import (
    bootstrap_daemon,
    main_daemon,
    main_daemon_restored,
    no_bootstrap_daemon,
    why_restart,
)
from deploys.operations.files import File
from deploys.platforms import RESTART_STRATEGIES
from deploys.record import SUBNET_ENV

from .harness import Meta, Shell, World
from .known import altered, daemons, host_files

SYSTEMD = RESTART_STRATEGIES["systemd"]
REVISION = "60b830b12616"
"""Of the sample's bootstrap daemon."""
FLAGS = ("--ip-masq=false", "--userland-proxy=false")


def text(steps: Sequence[object]) -> str:
    """The one command of an operation."""
    (step,) = steps
    assert isinstance(step, Shell)
    return step.text


def test_a_bootstrap_daemon_with_its_newest_configuration_is_left_alone() -> None:
    here = World(facts={DaemonsFact: daemons()})
    assert here.run(bootstrap_daemon, restart=SYSTEMD, revision=REVISION) == []
    assert here.noops == ["the bootstrap daemon runs as it should"]


@pytest.mark.parametrize(
    ("state", "revision", "verb"),
    [
        ({"active": False, "environment": {}}, REVISION, "start"),
        ({}, "another", "restart"),
        ({"enabled": False}, REVISION, "enable"),
    ],
)
def test_a_bootstrap_daemon_is_started_restarted_or_enabled(state: dict[str, object], revision: str, verb: str) -> None:
    here = World(facts={DaemonsFact: daemons(bootstrap=state)})
    command = text(here.run(bootstrap_daemon, restart=SYSTEMD, revision=revision))
    assert command.startswith("systemctl daemon-reload && systemctl enable --quiet docker-bootstrap && ")
    assert f"systemctl {'restart' if verb == 'restart' else 'start'} docker-bootstrap" in command
    assert "journalctl -u docker-bootstrap -n 60 --no-pager -o cat | grep -v level=info | tail -n 20" in command
    assert f"Will {verb} the bootstrap daemon" in here.says(bootstrap_daemon, restart=SYSTEMD, revision=revision)


UNIT = File("/etc/systemd/system/docker-bootstrap.service", "[Service]\n")


@pytest.mark.parametrize(("content", "changed"), [("[Service]\nRestart=no\n", 50), ("[Service]\n", 101)])
def test_a_bootstrap_daemon_that_was_started_on_an_edited_unit_is_restarted(content: str, changed: int) -> None:
    files = altered(host_files(File(UNIT.path, content)), UNIT.path, changed=changed)
    here = World(facts={DaemonsFact: replace(daemons(), bootstrap_started=100), HostFiles: files})
    assert "systemctl restart docker-bootstrap" in text(
        here.run(bootstrap_daemon, restart=SYSTEMD, revision=REVISION, reads=[UNIT])
    )
    said = here.says(bootstrap_daemon, restart=SYSTEMD, revision=REVISION, reads=[UNIT])
    assert f"Will restart the bootstrap daemon, which reads {UNIT.path} at its start" in said


def test_a_bootstrap_daemon_whose_unit_systemd_has_not_read_is_restarted() -> None:
    here = World(facts={DaemonsFact: daemons(bootstrap={"needs_reload": True})})
    assert "systemctl restart" in text(here.run(bootstrap_daemon, restart=SYSTEMD, revision=REVISION))


def test_a_bootstrap_daemon_that_must_go_is_stopped_and_disabled() -> None:
    here = World(facts={DaemonsFact: daemons()})
    assert here.run(no_bootstrap_daemon, restart=SYSTEMD) == [
        Shell(
            "systemctl stop docker-bootstrap; systemctl disable --quiet docker-bootstrap; "
            "! command -v ctr >/dev/null || for n in dmboot dmbootp; do timeout 20 ctr -n $n leases ls -q | "
            "xargs -r timeout 20 ctr -n $n leases rm; timeout 20 ctr -n $n content ls -q | "
            "xargs -r timeout 20 ctr -n $n content rm; timeout 20 ctr namespaces remove $n; done >/dev/null 2>&1; "
            "! systemctl is-active --quiet docker-bootstrap"
        )
    ]
    gone = World(facts={DaemonsFact: daemons("daemons-fresh")})
    assert gone.run(no_bootstrap_daemon, restart=SYSTEMD) == []


BIP = "10.1.1.1/24"


def test_the_main_docker_is_restarted_for_a_reason_only() -> None:
    flags = ("--ip-masq=false", "--userland-proxy=false", "--log-opt=max-size=10m")
    assert why_restart(daemons(), flags, BIP, "") is None
    assert why_restart(daemons(), (*flags, "--x=1"), BIP, "") == "it runs without --x=1"
    assert why_restart(daemons(), flags, "10.1.9.1/24", "") == f"docker0 has {BIP} instead of 10.1.9.1/24"
    assert why_restart(daemons(docker0=""), flags, BIP, "") == f"docker0 has no address instead of {BIP}"
    assert why_restart(daemons(main={"active": False}), flags, BIP, "") == "it is not running"


def test_the_main_docker_is_restarted_when_its_proxy_changes() -> None:
    proxied = daemons(main={"environment": {"DOCKER_MULTINODE_REVISION": "abc"}})
    assert why_restart(proxied, FLAGS, BIP, "abc") is None
    for found, revision in ((proxied, "def"), (proxied, ""), (daemons(), "abc")):
        assert why_restart(found, FLAGS, BIP, revision) == "its proxy settings changed"


def world(found: object, **etcd: dict[str, str]) -> World:
    """A master whose record says 10.1.1.0/24."""
    record = File(SUBNET_ENV, f"FLANNEL_SUBNET={BIP}\n")
    return World(facts={DaemonsFact: found, EtcdSubnets: Subnets(False, "", **etcd), HostFiles: host_files(record)})


def run(here: World, bounced: tuple[str, ...] = ()) -> list[object]:
    """Run the operation for the master."""
    return [*here.run(main_daemon, node=here.node(), flags=FLAGS, revision="", drop_in="/d/zz.conf", bounced=bounced)]


def test_a_main_docker_on_the_pod_network_is_left_alone() -> None:
    here = world(daemons())
    assert run(here) == []
    assert here.noops == ["the main Docker runs on the pod network"]


def test_a_drop_in_that_systemd_has_not_read_needs_no_restart() -> None:
    assert run(world(daemons(main={"needs_reload": True}))) == [Shell("systemctl daemon-reload")]


def test_systemd_reads_a_drop_in_again_that_this_run_writes() -> None:
    """Also where systemd sees no news: it compares times only."""
    here = world(daemons())
    for wrote, commands in ((True, [Shell("systemctl daemon-reload")]), (False, [])):
        ran = here.run(
            main_daemon,
            node=here.node(),
            flags=FLAGS,
            revision="",
            drop_in="/d/zz.conf",
            bounced=(),
            when=[Meta(wrote)],
        )
        assert ran == commands


def test_a_main_docker_elsewhere_is_restarted_and_put_back_if_it_does_not_come_up() -> None:
    here = world(daemons("daemons-fresh"))
    command = text(run(here, ("db", "web")))
    keep, rest = command.split("; systemctl daemon-reload; ", 1)
    assert keep.endswith("|| echo '172.17.0.1/16' > /var/lib/docker-multinode/before/docker0")
    assert "systemctl restart docker" in rest.split(" || ")[0]
    failed = "/var/lib/docker-multinode/docker-drop-in.failed"
    evidence, back = rest.split(f"its drop-in is kept as {failed}", 1)
    assert "journalctl -u docker -n 60 --no-pager -o cat | grep -v level=info | tail -n 20" in evidence
    assert f"mv -f /d/zz.conf {failed}; systemctl daemon-reload; " in back
    assert "systemctl restart docker" in back.split("exit 1")[0]
    assert f"grep -qF ' {BIP} '" in rest
    said = here.says(
        main_daemon, node=here.node(), flags=FLAGS, revision="", drop_in="/d/zz.conf", bounced=("db", "web")
    )
    assert "Will restart the main Docker because it runs without --ip-masq=false --userland-proxy=false" in said
    assert "which restarts the running containers db, web" in said


def test_docker_is_restored_by_one_start_with_its_old_address_and_one_without_us() -> None:
    here = World(facts={DaemonsFact: daemons()})
    command = text(here.run(main_daemon_restored, restart=SYSTEMD, command="/usr/bin/dockerd -H fd://", bounced=()))
    assert command.startswith("before=$(grep -xE '([0-9]+[.]){3}[0-9]+/[0-9]+' /var/lib/docker-multinode/before/")
    assert "systemctl stop docker.socket 2>/dev/null; systemctl stop docker" in command
    assert "'/usr/bin/dockerd -H fd://' \"--bip=$before\"" in command
    assert "before us it was $before" in command


def test_the_plan_of_a_turndown_names_the_containers_that_it_bounces() -> None:
    here = World(facts={DaemonsFact: daemons()})
    said = here.says(main_daemon_restored, restart=SYSTEMD, command="x", bounced=("db", "web"))
    assert "the running containers db, web" in said


def test_a_docker_that_runs_without_us_needs_no_restoring() -> None:
    here = World(facts={DaemonsFact: daemons("daemons-fresh")})
    assert here.run(main_daemon_restored, restart=SYSTEMD, command="x", bounced=()) == []
    assert here.noops == ["the main Docker runs without us"]
