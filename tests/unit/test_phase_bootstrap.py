"""What the bootstrap daemon takes over from the main one's configuration, and that no password is shown on the way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from pyinfra.api import DeployError

from deploys.dockerd import command_of
from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import HostFiles
from deploys.facts.found import Found
from deploys.facts.hiding import HIDDEN, HIDE
from deploys.facts.platform import Platform
from deploys.operations.files import File, files
from deploys.phases import bootstrap
from deploys.record import BOOTSTRAP_CONFIG, BOOTSTRAP_DATA

from . import machines
from .harness import Shell, World
from .known import host_files
from .test_scripts import program, sh

THEIRS = {"proxies": {"http-proxy": "http://bob:s3cret@proxy.lan:3142"}, "registry-mirrors": ["https://mirror.lan"]}
READ = f"Welcome!\n{{}}\n== daemon.json\n{json.dumps(THEIRS, indent=1)}\n== end\nBye!\n"
"""What the host prints when it is asked for that file, by a login shell that prints something, too."""
SHOWN = json.loads(json.dumps(THEIRS).replace("bob:s3cret@", HIDDEN))


@pytest.fixture
def node() -> Iterator[bootstrap.Node]:
    """A host whose daemon.json has a password, which the fact hid."""
    here = World(platforms={"m1": machines.found(daemon_json=SHOWN)}, facts={HostFiles: host_files()})
    node = here.node()
    with patch.object(bootstrap, "run", return_value=(True, READ, "")), here.on():
        yield node


def configured(found: Found, present: str = "") -> File:
    """The daemon's configuration on such a machine, where it has one already or not."""
    here = World(
        platforms={"m1": found}, facts={HostFiles: host_files(*([File(BOOTSTRAP_CONFIG, present)] * bool(present)))}
    )
    node = here.node()
    with here.on():
        return bootstrap._config(node)


@pytest.mark.parametrize(
    ("began_with", "keeps"),
    [
        ({}, {}),
        ({"storage-driver": "overlay2"}, {"storage-driver": "overlay2"}),
        ({"features": {"containerd-snapshotter": False}}, {"features": {"containerd-snapshotter": False}}),
    ],
)
def test_it_keeps_the_store_that_it_began_with(began_with: dict[str, object], keeps: dict[str, object]) -> None:
    theirs = {"storage-driver": "vfs", "features": {"containerd-snapshotter": True}, "dns": ["10.0.0.1"]}
    found = machines.found(daemon_json=theirs)
    config = json.loads(configured(found, json.dumps({**began_with, "live-restore": True})).content)
    assert {key: config[key] for key in bootstrap.OF_ITS_STORE if key in config} == keeps
    assert config["dns"] == ["10.0.0.1"], "what it keeps nothing in may change"
    assert {key: json.loads(configured(found).content)[key] for key in theirs} == theirs


def test_it_keeps_its_store_also_where_its_configuration_is_for_root_alone(node: bootstrap.Node) -> None:
    files_of_ours = host_files(File(BOOTSTRAP_CONFIG, "", "600", secret=True))
    found = machines.found(daemon_json={"features": {"containerd-snapshotter": True}})
    here = World(platforms={"m1": found}, facts={HostFiles: files_of_ours})
    began_with = '== daemon.json\n{"features": {"containerd-snapshotter": false}}\n== end\n'
    with patch.object(bootstrap, "run", return_value=(True, began_with, "")) as run, here.on():
        config = bootstrap._config(here.node())
    assert json.loads(config.content)["features"] == {"containerd-snapshotter": False}
    assert BOOTSTRAP_CONFIG in run.call_args.args[1]


def test_each_configuration_for_root_alone_is_read_once() -> None:
    files_of_ours = host_files(File(BOOTSTRAP_CONFIG, "", "600", secret=True))
    here = World(platforms={"m1": machines.found(daemon_json=SHOWN)}, facts={HostFiles: files_of_ours})
    with patch.object(bootstrap, "run", return_value=(True, READ, "")) as run, here.on():
        bootstrap._config(here.node())
    read = [path for call in run.call_args_list for path in call.args[1].split() if path.endswith("daemon.json;")]
    assert read == [f"{BOOTSTRAP_CONFIG};", "/etc/docker/daemon.json;"]


def test_a_password_in_daemon_json_is_taken_over_for_root_alone_and_shown_nowhere(node: bootstrap.Node) -> None:
    config = bootstrap._config(node)
    assert (config.mode, config.secret) == ("600", True)
    assert json.loads(config.content)["proxies"] == THEIRS["proxies"]
    here = World(facts={HostFiles: host_files()})
    said = here.says(files, wanted=[config])
    assert "s3cret" not in said
    assert f"Will write {BOOTSTRAP_CONFIG} (mode 600, secret: content not shown)" in said


def test_containers_of_the_bootstrap_daemon_outlive_it(node: bootstrap.Node) -> None:
    assert json.loads(bootstrap._config(node).content)["live-restore"] is True


def test_another_password_is_another_revision_and_writes_the_secret_file_with_the_unit(node: bootstrap.Node) -> None:
    one = bootstrap._config(node)
    with patch.object(bootstrap, "run", return_value=(True, READ.replace("s3cret", "other"), "")):
        other = bootstrap._config(node)
    assert bootstrap._revision(node, one) != bootstrap._revision(node, other)
    unit = File("/unit", "new")
    here = World(facts={HostFiles: host_files(one, File("/unit", "old"))})
    (command,) = here.run(files, wanted=[other, unit])
    assert isinstance(command, Shell)
    assert set(command.written) == {BOOTSTRAP_CONFIG, "/unit"}
    same = World(facts={HostFiles: host_files(one, unit)})
    assert same.run(files, wanted=[one, unit]) == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((False, "", "the connection to m1 broke: timed out"), "m1 broke: timed out; run this again"),
        ((False, "Welcome!\n== daemon.json\n", "x\ncat: /etc/docker/daemon.json: gone\n"), "again: cat: .*: gone; run"),
        ((True, "Welcome!\n{}\n== daemon.json\n{", ""), "could not be read again; run this again"),
    ],
)
def test_a_daemon_json_that_can_not_be_read_again_is_one_sentence(
    node: bootstrap.Node, answer: tuple[bool, str, str], says: str
) -> None:
    with patch.object(bootstrap, "run", return_value=answer), pytest.raises(DeployError, match=says):
        bootstrap._config(node)


def test_a_daemon_json_without_an_end_of_its_line_is_read_again(node: bootstrap.Node) -> None:
    asked: list[str] = []

    def run(_: object, command: str) -> tuple[bool, str, str]:
        asked.append(command)
        return True, '== daemon.json\n{"proxies": {"http-proxy": "http://u:p@proxy"}}\n== end', ""

    with patch.object(bootstrap, "run", run):
        bootstrap._config(node)
    assert asked == ['echo "== daemon.json"; cat /etc/docker/daemon.json; echo; echo "== end"']


def test_a_configuration_without_a_password_is_shown_and_nothing_more_is_read() -> None:
    plain = {"registry-mirrors": ["https://mirror.lan"], "proxies": {"http-proxy": "http://proxy.lan:1"}}
    with patch.object(bootstrap, "run", side_effect=AssertionError("it was read")):
        config = configured(machines.found(daemon_json=plain))
    assert (config.mode, config.secret) == ("644", False)
    assert json.loads(config.content)["proxies"] == plain["proxies"]


@pytest.mark.parametrize(
    ("driver", "device", "inherited"),
    [("zfs", 1, True), ("zfs", 2, False), ("btrfs", 2, False), ("btrfs", None, False), ("overlay2", 2, True)],
)
def test_a_storage_driver_that_needs_its_own_file_system_is_taken_over_on_dockers_disk_only(
    driver: str, device: int | None, inherited: bool
) -> None:
    disks = ["1 9000000 9000000 9 9000 /srv/docker", f"{device} 9000000 9000000 9 9000 {BOOTSTRAP_DATA}"]
    there = machines.found(
        daemon_json={"storage-driver": driver}, docker_root="/srv/docker",
        disks="\n".join(disks[: 2 if device else 1]),
    )  # fmt: skip
    config = json.loads(configured(there).content)
    assert config.get("storage-driver") == (driver if inherited else None)


@pytest.mark.parametrize("slashes", ["://", r":\/\/"])
def test_a_host_hides_passwords_of_daemon_json_before_it_tells_it(slashes: str, tmp_path: Path) -> None:
    place = tmp_path / "daemon.json"
    place.write_text(json.dumps(THEIRS).replace("://", slashes))
    script = Platform().command().get_raw_value().replace("/etc/docker/daemon.json", str(place))
    told = sh(script).stdout
    assert Platform().process(told.splitlines()).daemon_json == SHOWN


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[Path]:
    """Where a systemctl lies that knows a Docker with passwords in its unit and in its command line."""
    unit = """# /x
[Service]
Environment="A=http://u:s3cret@p" \\
  B=http://u:s3cret@p
ExecStart=/d -H fd:// \\
  --http-proxy=http://u:s3cret@p
"""
    (tmp_path / "unit").write_text(unit.replace("\\\\", "\\"))
    command = ["sh", "-c", "read x; :", "dockerd", "-H", "fd://", "--http-proxy=http://u:s3cret@p"]
    running = subprocess.Popen(command, stdin=subprocess.PIPE)
    program(tmp_path / "bin", "systemctl", f"""case $1 in cat) cat {tmp_path}/unit;;
show) echo ActiveState=deactivating; echo MainPID={running.pid};; esac""")  # fmt: skip
    yield tmp_path / "bin"
    running.communicate()


def test_a_host_hides_passwords_of_dockers_unit_and_command_before_it_tells_them(dockerd: Path) -> None:
    script = Platform().command().get_raw_value().replace("[ ! -d /run/systemd/system ]", "false")
    told = sh(script.replace("[ -d /run/systemd/system ]", "true"), path=str(dockerd)).stdout
    assert "s3cret" not in told
    found = Platform().process(told.splitlines())
    assert found.docker_flags[-3:] == ("-H", "fd://", f"--http-proxy=http://{HIDDEN}p")
    assert command_of(found.docker_unit, "/y") == f"/d -H fd:// --http-proxy=http://{HIDDEN}p"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"http-proxy": "u:s3cret@p:3128"}', '{"http-proxy": "***@p:3128"}'),
        ('{"https-proxy":"http://u:s3cret@p"}', '{"https-proxy":"http://***@p"}'),
        ("Environment=HTTP_PROXY=u:s3cret@p", "Environment=HTTP_PROXY=***@p"),
        ('"init": "reg/a:1@sha256:ab"', '"init": "reg/a:1@sha256:ab"'),
        ('"no-proxy": "a.lan,b.lan"', '"no-proxy": "a.lan,b.lan"'),
    ],
)
def test_a_proxys_password_is_hidden_also_where_it_has_no_scheme(text: str, shown: str) -> None:
    assert sh(HIDE, stdin=text).stdout == shown


def test_a_host_hides_passwords_of_both_daemons_commands_before_it_tells_them(dockerd: Path) -> None:
    told = sh(DaemonsFact().command().get_raw_value(), path=str(dockerd)).stdout
    assert "s3cret" not in told
    found = DaemonsFact().process(told.splitlines())
    assert found.main.command[-1] == found.bootstrap.command[-1] == f"--http-proxy=http://{HIDDEN}p"
