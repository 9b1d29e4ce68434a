"""What the bootstrap daemon takes over from the main one's configuration, and that no password is shown on the way."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from deploys.facts.files import HostFiles
from deploys.facts.platform import HIDDEN, Platform
from deploys.operations.files import File, files
from deploys.phases import bootstrap
from deploys.record import BOOTSTRAP_CONFIG

from . import machines
from .harness import Shell, World
from .known import host_files

THEIRS = {"proxies": {"http-proxy": "http://bob:s3cret@proxy.lan:3142"}, "registry-mirrors": ["https://mirror.lan"]}
SHOWN = json.loads(json.dumps(THEIRS).replace("bob:s3cret@", HIDDEN))


@pytest.fixture
def node() -> Iterator[bootstrap.Node]:
    """A host whose daemon.json has a password, which the fact hid."""
    here = World(platforms={"m1": machines.found(daemon_json=SHOWN)})
    with patch.object(bootstrap, "run", return_value=(True, json.dumps(THEIRS), "")):
        yield here.node()


def test_a_password_in_daemon_json_is_taken_over_for_root_alone_and_shown_nowhere(node: bootstrap.Node) -> None:
    config = bootstrap._config(node)
    assert (config.mode, config.secret) == ("600", True)
    assert json.loads(config.content)["proxies"] == THEIRS["proxies"]
    here = World(facts={HostFiles: host_files()})
    said = here.says(files, wanted=[config])
    assert "s3cret" not in said
    assert f"Will write {BOOTSTRAP_CONFIG} (mode 600, secret: content not shown)" in said


def test_another_password_is_another_revision_and_writes_the_secret_file_with_the_unit(node: bootstrap.Node) -> None:
    one = bootstrap._config(node)
    with patch.object(bootstrap, "run", return_value=(True, json.dumps(THEIRS).replace("s3cret", "other"), "")):
        other = bootstrap._config(node)
    assert bootstrap._revision(node, one) != bootstrap._revision(node, other)
    unit = File("/unit", "new")
    here = World(facts={HostFiles: host_files(one, File("/unit", "old"))})
    (command,) = here.run(files, wanted=[other, unit])
    assert isinstance(command, Shell)
    assert set(command.written) == {BOOTSTRAP_CONFIG, "/unit"}
    same = World(facts={HostFiles: host_files(one, unit)})
    assert same.run(files, wanted=[one, unit]) == []


def test_a_configuration_without_a_password_is_shown_and_nothing_more_is_read() -> None:
    plain = {"registry-mirrors": ["https://mirror.lan"], "proxies": {"http-proxy": "http://proxy.lan:1"}}
    here = World(platforms={"m1": machines.found(daemon_json=plain)})
    with patch.object(bootstrap, "run", side_effect=AssertionError("it was read")):
        config = bootstrap._config(here.node())
    assert (config.mode, config.secret) == ("644", False)
    assert json.loads(config.content)["proxies"] == plain["proxies"]


def _hidden(line: str, tmp_path: Path, text: str) -> str:
    script = Platform().command().get_raw_value()
    hide = next(part for part in script.splitlines() if part.startswith("export LC_ALL=C; hide="))
    (tmp_path / "text").write_text(text)
    ran = subprocess.run(
        ["sh", "-c", f"{hide}\n{line} < {tmp_path}/text"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return ran.stdout


@pytest.mark.parametrize("slashes", ["://", r":\/\/"])
def test_a_host_hides_passwords_of_daemon_json_before_it_tells_it(slashes: str, tmp_path: Path) -> None:
    text = json.dumps(THEIRS).replace("://", slashes)
    told = _hidden('sed -E "$hide"', tmp_path, text)
    assert json.loads(told) == SHOWN
    assert 'sed -E "$hide" /etc/docker/daemon.json 2>/dev/null | base64' in Platform().command().get_raw_value()
    assert "s3cret" not in base64.b64decode(base64.b64encode(told.encode())).decode()


def test_a_host_hides_passwords_of_dockers_environment_but_not_of_its_command(tmp_path: Path) -> None:
    unit = 'Environment="A=http://u:s3cret@p" B=x@y\nExecStart=/d \\\n  --http-proxy=http://u:seen@p\n'
    line = 'sed -E "/^[[:space:]]*Environment=/$hide"'
    assert line in Platform().command().get_raw_value()
    assert _hidden(line, tmp_path, unit) == unit.replace("u:s3cret@", HIDDEN)
