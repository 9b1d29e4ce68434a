"""The two daemons: started, restarted only when they must be, and what is done when they do not come up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.dockerd import NO_USERLAND_PROXY
from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import LABEL, POD
from deploys.facts.etcd import EtcdSubnets, Subnets
from deploys.facts.files import HostFiles
from deploys.facts.leftovers import Leftovers
from deploys.operations.bootstrap_daemon import bootstrap_daemon, bootstrap_daemon_started, no_bootstrap_daemon
from deploys.operations.files import File
from deploys.operations.main_daemon import main_daemon, main_daemon_started, why_restart
from deploys.operations.restarts import Bounced, bounce
from deploys.platforms import RESTART_STRATEGIES
from deploys.record import NODE, RECORD, SUBNET_ENV

from .harness import Meta, Shell, Step, World
from .known import altered, daemons, host_files, left
from .test_scripts import program, sh

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
    here = World(facts={DaemonsFact: daemons(), HostFiles: host_files(UNIT), Leftovers: left()})
    assert here.run(no_bootstrap_daemon, restart=SYSTEMD, unit=UNIT.path) == [
        Shell(
            "systemctl stop docker-bootstrap; systemctl disable --quiet docker-bootstrap; "
            "! command -v ctr >/dev/null || for n in dmboot dmbootp; do for t in $(timeout 20 ctr -n $n tasks ls -q); "
            "do timeout 20 ctr -n $n tasks kill $t; i=0; while [ $((i+=1)) -le 50 ] && timeout 20 ctr -n $n tasks ls "
            '| grep -q "^$t .*RUNNING"; do sleep 0.2; done; timeout 20 ctr -n $n tasks rm -f $t; done; '
            "timeout 20 ctr -n $n containers ls -q | xargs -r timeout 20 ctr -n $n containers rm; "
            "done >/dev/null 2>&1; ! command -v ctr >/dev/null || for n in dmboot dmbootp; do "
            "timeout 20 ctr -n $n leases ls -q | "
            "xargs -r timeout 20 ctr -n $n leases rm; timeout 20 ctr -n $n images ls -q | "
            "xargs -r timeout 60 ctr -n $n images rm --sync; timeout 20 ctr -n $n content ls -q | "
            "xargs -r timeout 20 ctr -n $n content rm; timeout 20 ctr namespaces remove $n; done >/dev/null 2>&1; "
            "! systemctl is-active --quiet docker-bootstrap"
        )
    ]
    for found in (daemons("daemons-fresh"), daemons()):  # a running one is of somebody else's unit
        gone = World(facts={DaemonsFact: found, Leftovers: left(paths=frozenset()), HostFiles: host_files()})
        assert gone.run(no_bootstrap_daemon, restart=SYSTEMD, unit=UNIT.path) == []


def test_what_a_bootstrap_daemon_that_was_switched_off_by_hand_left_running_is_ended() -> None:
    here = World(facts={DaemonsFact: daemons("daemons-fresh"), Leftovers: left(), HostFiles: host_files()})
    assert "ctr -n $n tasks kill $t" in text(here.run(no_bootstrap_daemon, restart=SYSTEMD, unit=UNIT.path))
    assert "with what still runs in them" in here.says(no_bootstrap_daemon, restart=SYSTEMD, unit=UNIT.path)


def test_a_bootstrap_daemon_that_is_down_is_started_so_that_its_containers_can_be_removed() -> None:
    unit = "/etc/systemd/system/docker-bootstrap.service"
    for facts in ((host_files(File(unit, "")), left(paths=frozenset())), (host_files(), left())):
        here = World(facts={DaemonsFact: daemons("daemons-fresh"), HostFiles: facts[0], Leftovers: facts[1]})
        command = text(here.run(bootstrap_daemon_started, restart=SYSTEMD, unit=unit))
        start, otherwise = command.split(" 2>/dev/null || ", 1)
        assert start.endswith("systemctl start docker-bootstrap)")
        assert "ctr -n $n tasks kill $t" in otherwise
    for running, files in ((daemons(), host_files(File(unit, ""))), (daemons("daemons-fresh"), host_files())):
        here = World(facts={DaemonsFact: running, HostFiles: files, Leftovers: left(paths=frozenset())})
        assert here.run(bootstrap_daemon_started, restart=SYSTEMD, unit=unit) == []


BIP = "10.1.1.1/24"
TWO = Bounced(("db", "web"), ("web",))


def test_the_main_docker_is_restarted_for_a_reason_only() -> None:
    flags = ("--ip-masq=false", "--userland-proxy=false", "--log-opt=max-size=10m")
    assert why_restart(daemons(), flags, BIP, "") is None
    assert why_restart(daemons(), (*flags, "--x=1"), BIP, "") == "it runs without --x=1"
    assert why_restart(daemons(), flags, "10.1.9.1/24", "") == f"docker0 has {BIP} instead of 10.1.9.1/24"
    assert why_restart(daemons(docker0=""), flags, BIP, "") == f"docker0 has no address instead of {BIP}"
    assert why_restart(daemons(main={"active": False}), flags, BIP, "") == "it is not running"
    lost = daemons(main={"forgotten": ("kubelet",)})
    assert why_restart(lost, flags, BIP, "") == "it lost kubelet when it started on a full disk"


def test_a_bootstrap_daemon_that_lost_its_containers_on_a_full_disk_is_restarted() -> None:
    here = World(facts={DaemonsFact: daemons(bootstrap={"forgotten": ("etcd", "flannel")})})
    revision = daemons().bootstrap.environment["DOCKER_MULTINODE_REVISION"]
    strategy = RESTART_STRATEGIES["systemd"]
    (step,) = here.run(bootstrap_daemon, restart=strategy, revision=revision)
    assert isinstance(step, Shell)
    assert "systemctl restart docker-bootstrap" in step.text
    said = here.says(bootstrap_daemon, restart=strategy, revision=revision)
    assert "which lost etcd, flannel when it started on a full disk" in said


def test_the_main_docker_is_restarted_when_its_proxy_changes() -> None:
    proxied = daemons(main={"environment": {"DOCKER_MULTINODE_REVISION": "abc"}})
    assert why_restart(proxied, FLAGS, BIP, "abc") is None
    for found, revision in ((proxied, "def"), (proxied, ""), (daemons(), "abc")):
        assert why_restart(found, FLAGS, BIP, revision) == "its proxy settings changed"


def world(found: object, **etcd: dict[str, str]) -> World:
    """A master whose record says 10.1.1.0/24."""
    record = File(SUBNET_ENV, f"FLANNEL_SUBNET={BIP}\n")
    return World(facts={DaemonsFact: found, EtcdSubnets: Subnets(False, "", **etcd), HostFiles: host_files(record)})


def run(here: World, bounced: Bounced = Bounced()) -> list[object]:  # noqa: B008
    """Run the operation for the master."""
    return [
        *here.run(
            main_daemon, node=here.node(), flags=FLAGS, revision="", rules=(), drop_in="/d/zz.conf", bounced=bounced
        )
    ]


def test_a_main_docker_on_the_pod_network_is_left_alone() -> None:
    here = world(daemons())
    assert run(here) == []
    assert here.noops == ["the main Docker runs on the pod network"]


@pytest.mark.parametrize(
    ("running", "flags", "said"),
    [
        (("dockerd",), FLAGS, True),
        (("dockerd", NO_USERLAND_PROXY), FLAGS, False),
        (("dockerd",), ("--ip-masq=false",), False),
    ],
    ids=["it gets our flag", "it has it", "daemon.json says so already"],
)
def test_ports_that_are_lost_over_ipv6_are_announced_once(
    running: tuple[str, ...], flags: tuple[str, ...], said: bool
) -> None:
    here = world(daemons(main={"command": running}, docker0="172.17.0.1/16"))
    bounced = Bounced(("db", "web"), proxied=("web",))
    plan = here.says(
        main_daemon, node=here.node(), flags=flags, revision="", rules=(), drop_in="/d/zz.conf", bounced=bounced
    )
    assert ("Published ports of web will no longer be reached over IPv6" in plan) is said


def test_a_drop_in_that_systemd_has_not_read_needs_no_restart() -> None:
    assert run(world(daemons(main={"needs_reload": True}))) == [Shell("systemctl daemon-reload")]


RULE = "DOCKER-USER -s 10.1.0.0/16 -i flannel.1 -o docker0 -m comment --comment docker-multinode -j ACCEPT"


@pytest.mark.parametrize(
    ("rules", "needs_reload", "command"),
    [
        ((), False, f"{{ iptables -w -C {RULE} 2>/dev/null || iptables -w -I {RULE}; }}"),
        ((), True, f"systemctl daemon-reload && {{ iptables -w -C {RULE} 2>/dev/null || iptables -w -I {RULE}; }}"),
        (
            ("-A DOCKER-USER -o docker0 -m comment --comment docker-multinode -j ACCEPT",),
            False,
            "iptables -w -D DOCKER-USER -o docker0 -m comment --comment docker-multinode -j ACCEPT 2>/dev/null; "
            f"{{ iptables -w -C {RULE} 2>/dev/null || iptables -w -I {RULE}; }}",
        ),
        ((f"-A {RULE}",), False, None),
    ],
)
def test_a_rule_that_somebody_flushed_is_set_again_without_a_restart(
    rules: tuple[str, ...], needs_reload: bool, command: str | None
) -> None:
    here = world(replace(daemons(main={"needs_reload": needs_reload}), rules=rules))
    words: dict[str, Any] = {
        "node": here.node(),
        "flags": FLAGS,
        "revision": "",
        "rules": [RULE],
        "drop_in": "/d",
        "bounced": TWO,
    }
    assert here.run(main_daemon, **words) == ([Shell(command)] if command else [])
    assert (RULE in here.says(main_daemon, **words)) is bool(command)


def test_a_docker_whose_rules_somebody_flushed_is_restarted() -> None:
    here = world(replace(daemons(), flushed=True))
    said = here.says(main_daemon, node=here.node(), flags=FLAGS, revision="", rules=[RULE], drop_in="/d", bounced=TWO)
    assert "Will restart the main Docker because somebody flushed its rules of iptables" in said
    assert "which restarts the running containers db, web" in said


def test_systemd_reads_a_drop_in_again_that_this_run_writes() -> None:
    """Also where systemd sees no news: it compares times only."""
    here = world(daemons())
    for wrote, commands in ((True, [Shell("systemctl daemon-reload")]), (False, [])):
        ran = here.run(
            main_daemon,
            node=here.node(),
            flags=FLAGS,
            revision="",
            rules=(),
            drop_in="/d/zz.conf",
            bounced=Bounced(),
            when=[Meta(wrote)],
        )
        assert ran == commands


def test_a_main_docker_elsewhere_is_restarted_and_put_back_if_it_does_not_come_up() -> None:
    here = world(daemons("daemons-fresh"))
    command = text(run(here, TWO))
    there, rest = command.split("; systemctl daemon-reload; ", 1)
    assert there.startswith("[ -e /d/zz.conf ] || ")
    assert "systemctl restart docker" in rest.split("); { ", 1)[1].split(" || ")[0]
    failed = "/var/lib/docker-multinode/docker-drop-in.failed"
    evidence, back = rest.split(f"mv -f /d/zz.conf {failed} && ", 1)
    assert "journalctl -u docker -n 60 --no-pager -o cat | grep -v level=info | tail -n 20" in evidence
    start, said = back.split("printf", 1)
    assert "systemctl daemon-reload; " in start
    assert "systemctl restart docker" in start, "before a broken connection can end what says so"
    assert ' "$end$kept" >&2' in said.split("false; }")[0]
    assert f"grep -qF ' {BIP} '" in rest
    said = here.says(
        main_daemon, node=here.node(), flags=FLAGS, revision="", rules=(), drop_in="/d/zz.conf", bounced=TWO
    )
    assert "Will restart the main Docker because it runs without --ip-masq=false --userland-proxy=false" in said
    assert "which restarts the running containers db, web" in said


@pytest.mark.parametrize(
    ("drop_in", "end"),
    [
        ("what docker dies of", "it was started without our drop-in, which is kept as"),
        ("", "it does not start without our drop-in either, which is kept as"),
    ],
)
def test_it_is_told_whether_docker_started_without_the_drop_in(drop_in: str, end: str, tmp_path: Path) -> None:
    place, bin = tmp_path / "zz.conf", tmp_path / "bin"
    place.write_text(drop_in)
    dies = f"[ ! -s {place} ]" if drop_in else "false"
    program(bin, "systemctl", f'case "$1" in restart) {dies};; is-active) false;; esac')
    program(bin, "journalctl", "echo why")
    here = world(daemons("daemons-fresh"))
    (step,) = here.run(
        main_daemon, node=here.node(), flags=FLAGS, revision="", rules=(), drop_in=str(place), bounced=TWO
    )
    ran = sh(text([step]).replace(RECORD, str(tmp_path)), path=str(bin))
    assert ran.returncode == 1
    said = ["docker does not come up on the pod network:", "why", f"{end} {tmp_path}/docker-drop-in.failed"]
    assert ran.stderr.splitlines() == said
    assert (tmp_path / "docker-drop-in.failed").read_text() == drop_in
    assert not place.exists()


def test_docker_is_not_restarted_without_its_drop_in(tmp_path: Path) -> None:
    here = world(daemons("daemons-fresh"))
    drop_in = f"{tmp_path}/zz.conf"
    (step,) = here.run(main_daemon, node=here.node(), flags=FLAGS, revision="", rules=(), drop_in=drop_in, bounced=TWO)
    program(tmp_path, "systemctl", f'echo "$*" >> {tmp_path}/log')
    ran = sh(text([step]).replace(RECORD, str(tmp_path)), path=str(tmp_path))
    said = f"docker is not restarted, for {drop_in} is not there; run this again, which writes it\n"
    assert (ran.returncode, ran.stderr) == (1, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["systemctl"]


def test_what_docker_would_not_start_again_the_run_starts() -> None:
    command = text(run(world(daemons("daemons-fresh")), TWO))
    asks, rest = command.split("units=$(", 1)[1].split("); { (", 1)
    assert "systemctl show docker.service -p RequiredBy -p BoundBy -p ConsistsOf --value" in asks
    assert all(label in asks.split("; down=$(", 1)[1] for label in (LABEL, POD))
    assert '; rc=$?; [ -z "$down" ] || timeout 60 docker start $down >/dev/null 2>&1 || ' in rest
    assert "systemctl start $units) || rc=1; [ $rc = 0 ]; } || exit 1; " in rest


class Bouncing:
    """A host with its Docker, whose restart is run by a real shell.

    :param running: name → what `docker inspect` says of it, newest first; nothing where it ended in between.
    :param active: whether Docker runs before.
    :param comes_up: whether the restart succeeds.
    :param starts: what `docker start` does, as a case of the shell.
    :param units: running units that need docker's; none of them starts again.
    """

    def __init__(
        self,
        place: Path,
        running: dict[str, str],
        *,
        active: bool = True,
        comes_up: bool = True,
        starts: str = "",
        units: str = "",
    ) -> None:
        log, bin = place / "log", place / "bin"
        for name in filter(running.get, running):
            (place / name).write_text(f"/{name}{running[name]}\n")
        inspect = f'inspect) shift 3; cd {place} && cat "$@";;'
        ps = f"ps) printf '%s\\n' {' '.join(running)};;"
        program(bin, "docker", f'case "$1" in {ps} {inspect} {starts} *) echo "docker $*" >> {log};; esac')
        is_active = f"is-active) {str(active).lower()};; show) echo {units};; start) echo started $2 >> {log}; false;;"
        goes = f"restart) echo restarted >> {log}; {str(comes_up).lower()};;"
        program(bin, "systemctl", f'case "$1" in {is_active} {goes} esac')
        ran = sh(bounce(SYSTEMD.restart.format(unit="docker"), SYSTEMD), path=str(bin))
        self.code, self.did, self.said = ran.returncode, log.read_text().splitlines(), ran.stderr


def test_it_starts_those_of_others_that_run_by_then_and_may_stay_down_oldest_first(tmp_path: Path) -> None:
    running = {
        "new": "||false|",
        "ended": "",
        "shop": "|unless-stopped|false|",
        "db": "|on-failure|false|",
        "always": "|always|false|",
        "once": "|no|true|",
        "pod": "|no|false|ours",
        "web.1": "|no|false|",
    }
    here = Bouncing(tmp_path, running)
    assert (here.code, here.did, here.said) == (0, ["restarted", "docker start web.1 db shop new"], "")


@pytest.mark.parametrize("running", [{}, {"shop": "|always|false|"}])
def test_nothing_is_started_where_nothing_stays_down(running: dict[str, str], tmp_path: Path) -> None:
    here = Bouncing(tmp_path, running)
    assert (here.code, here.did) == (0, ["restarted"])


def test_a_restart_that_fails_is_a_failure_though_containers_were_started(tmp_path: Path) -> None:
    here = Bouncing(tmp_path, {"db": "|no|false|"}, comes_up=False)
    assert (here.code, here.did) == (1, ["restarted", "docker start db"])


def test_a_container_that_does_not_start_again_is_a_failure_once_it_was_tried_twice(tmp_path: Path) -> None:
    needs = {"needs": "|no|false|", "netns": "|no|false|"}
    for tries, code in ((2, 0), (3, 1)):
        starts = f"start) echo x >> {tmp_path}/{tries}; [ $(wc -l < {tmp_path}/{tries}) -ge {tries} ];;"
        here = Bouncing(tmp_path, needs, starts=starts)
        assert (here.code, here.said) == (code, "not each of these runs again: netns needs\n" if code else "")


def test_a_unit_that_needs_docker_and_does_not_start_again_is_a_failure(tmp_path: Path) -> None:
    here = Bouncing(tmp_path, {}, units="shop.service")
    assert (here.code, here.did) == (1, ["restarted", "started shop.service"])


def test_a_docker_that_is_down_is_not_asked(tmp_path: Path) -> None:
    here = Bouncing(tmp_path, {"db": "|no|false|"}, active=False)
    assert (here.code, here.did) == (0, ["restarted"])


def test_a_restart_is_said_with_those_that_it_stops_for_good() -> None:
    assert str(Bounced()) == "no container of others"
    assert str(Bounced(("a", "b", "c"), ("b",), ("c",))) == (
        "the running containers a, b, c; this run itself starts b, for lack of a restart policy; "
        "Docker removes c, as --rm says"
    )


def started(main: dict[str, object], *files: str) -> tuple[World, list[Step]]:
    """Start a main Docker that is in this state, on a host with these files of ours."""
    known = host_files(*(File(path, "") for path in files))
    here = World(facts={DaemonsFact: daemons(main=main), HostFiles: known})
    return here, here.run(main_daemon_started, restart=SYSTEMD, drop_in="/d/zz.conf", bounced=TWO)


def test_a_nodes_docker_that_is_down_is_started_if_need_be_without_our_drop_in() -> None:
    here, steps = started({"active": False}, NODE)
    command = text(steps)
    assert command.startswith("systemctl daemon-reload; (systemctl reset-failed docker 2>/dev/null; systemctl start d")
    with_us, without = command.split(" 2>/dev/null || {", 1)
    assert "rm -f" not in with_us
    assert without.index("rm -f -- /d/zz.conf") < without.index("systemctl daemon-reload") < without.index("start do")
    assert "docker does not come up:" in without
    said = here.says(main_daemon_started, restart=SYSTEMD, drop_in="/d/zz.conf", bounced=TWO)
    assert "Will start the main Docker, which is down, and then remove the kubelet and its pods" in said


def test_a_docker_that_lost_our_containers_is_restarted_before_they_are_removed() -> None:
    here, steps = started({"forgotten": ("kubelet",)}, NODE)
    assert "systemctl restart docker" in text(steps)
    said = here.says(main_daemon_started, restart=SYSTEMD, drop_in="/d/zz.conf", bounced=TWO)
    assert "Will restart the main Docker, which lost kubelet when it started on a full disk, which restarts the" in said
    assert "and then remove the kubelet and its pods" in said
    assert started({"forgotten": ("kubelet",)})[1] == [], "on a host that is no node of ours"


@pytest.mark.parametrize(("main", "files"), [({}, (NODE, "/d/zz.conf")), ({"active": False}, ())])
def test_a_docker_that_runs_or_has_nothing_of_ours_is_not_started(main: dict[str, object], files: tuple[str]) -> None:
    assert started(main, *files)[1] == []
