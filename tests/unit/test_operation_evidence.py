"""The archive of evidence: who can read it, what it is never written over, and a host that is down."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import gevent
import pytest
from pyinfra.api import DeployError
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host

import deploys
from deploys import x509
from deploys.facts.evidence import CERTIFICATES, Row, script
from deploys.operations import evidence as module
from deploys.operations.evidence import NOT_COLLECTED, archive_path, evidence_collected

from .harness import Calls, World, logged, plain
from .runs import ROOT, _environment, master, worker

CA = x509.new_authority("kubernetes")
Told = Callable[[Host, str], tuple[bool, str, str]]


def answer(text: str = "hello\n", **more: str) -> str:
    """What a host prints for these rows."""
    rows = [Row(name.replace("_", "/"), f"printf '%s' '{words}'") for name, words in {"a": text, **more}.items()]
    return subprocess.run(["sh", "-c", script(rows)], capture_output=True, text=True, check=True).stdout


@contextmanager
def told(say: Told) -> Iterator[None]:
    """Hosts answer so."""
    with patch.object(module, "run", say):
        yield


def collect(path: Path | None, say: Told, lost: tuple[str, ...] = ()) -> tuple[list[bool], list[str], World]:
    """Collect evidence of a master and two workers; how it went for each, what was logged."""
    world = World(workers=["w1", "w2"])
    for name in lost:
        world.state.fail_hosts({world.host(name)})  # type: ignore[no-untyped-call]
    names = [name for name in ("m1", "w1", "w2") if name not in lost]
    results = []
    with told(say), logged() as lines:
        for name in names:
            with world.on(name) as host:
                archive_path(host, str(path) if path else None)
        for name in names:
            (step,) = world.run(evidence_collected, path=str(path), on=name)
            assert step == Calls("_collect", ())
            results.append(module._collect(world.state, world.host(name)))
    return results, lines, world


def unpacked(path: Path) -> dict[str, str]:
    """File → text, below the archive's own folder."""
    with tarfile.open(path) as tar:
        assert {m.mode for m in tar} == {0o600}
        texts = {m.name: data.read().decode() for m in tar if (data := tar.extractfile(m))}
    assert {name.partition("/")[0] for name in texts} == {path.name.removesuffix(".tar.gz")}
    return {name.partition("/")[2]: text for name, text in texts.items()}


def test_the_archive_has_a_folder_for_each_host_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "e.tar.gz"
    results, lines, _ = collect(path, lambda host, _: (True, answer(f"I am {host.name}"), ""))
    assert results == [True, True, True]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    found = unpacked(path)
    assert {n: t for n, t in found.items() if n != "README.txt"} == {f"{n}/a": f"I am {n}" for n in ("m1", "w1", "w2")}
    assert "w2: 1 files" in found["README.txt"]
    assert lines[-1] == f"The evidence is in {path} (mode 600). Read it before you give it away."


def test_the_plan_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    world = World()
    with world.on() as host:
        archive_path(host, str(tmp_path / "e.tar.gz"))
    with told(lambda *_: pytest.fail("a host was asked for a plan")):
        said = world.says(evidence_collected, path="e.tar.gz")
    assert "Will ask this host" in said
    assert list(tmp_path.iterdir()) == []


def test_it_is_never_written_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    for name in ("file", "link", "folder"):
        with World().on() as host, pytest.raises(DeployError) as error:
            archive_path(host, str(tmp_path / name))
        assert "is there already and is not overwritten; set evidence_path to another place" in str(error.value)
    with World().on() as host, pytest.raises(DeployError, match="no/such is no directory; set evidence_path"):
        archive_path(host, str(tmp_path / "no/such/e.tar.gz"))
    with World().on() as host, pytest.raises(DeployError, match="nn is no directory; set evidence_path"):
        archive_path(host, str(tmp_path / ("n" * 300) / "e.tar.gz"))  # a name that can't be looked for
    assert (tmp_path / "file").read_text() == "theirs"


def test_what_came_there_meanwhile_stays_and_the_run_fails(tmp_path: Path) -> None:
    path = tmp_path / "e.tar.gz"

    def say(*_: object) -> tuple[bool, str, str]:
        path.write_text("theirs")
        return True, answer(), ""

    results, lines, _ = collect(path, say)
    assert results == [True, True, False]
    assert f"{path} can't be written: File exists" in lines[-1]
    assert path.read_text() == "theirs"


def test_without_a_setting_its_name_has_the_time_and_all_hosts_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    collect(None, lambda *_: (True, answer(), ""))
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"docker-multinode-evidence-20\d{6}T\d{6}Z\.tar\.gz", path.name)
    assert len(unpacked(path)) == 4


def test_a_host_that_is_down_breaks_off_or_says_nothing_is_in_it_with_the_reason(tmp_path: Path) -> None:
    def say(host: Host, _: str) -> tuple[bool, str, str]:
        if host.name == "m1":
            return False, "", "sudo: a password is required"
        if host.name == "w1":
            raise ConnectError("SSH error (timed out)")
        return True, answer("I work"), ""

    path = tmp_path / "e.tar.gz"
    results, lines, _ = collect(path, say, lost=("w1",))
    assert results == [False, True]
    found = unpacked(path)
    assert found["w1/not-collected.txt"] == "w1 can't be reached: SSH error (timed out)\n"
    assert found["w2/a"] == "I work"
    assert "sudo: a password is required" in found[f"m1/{NOT_COLLECTED}"]
    assert "w1: w1 can't be reached: SSH error (timed out)" in found["README.txt"]
    assert "not complete: w1 can't be reached: SSH error (timed out)" in lines


def test_a_host_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.05)

    def say(host: Host, _: str) -> tuple[bool, str, str]:
        if host.name == "w1":
            gevent.sleep(20)
        return True, answer(), ""

    collect(tmp_path / "e.tar.gz", say)
    found = unpacked(tmp_path / "e.tar.gz")
    assert "w1 did not answer within" in found[f"w1/{NOT_COLLECTED}"]
    assert found["w2/a"] == "hello\n"


def test_certificates_become_names_and_dates_and_secrets_are_redacted(tmp_path: Path) -> None:
    pems = f"/etc/kubernetes/pki/ca.crt\n{CA.certificate}/etc/kubernetes/pki/x.crt\nbroken\n{CA.key}"
    out = answer("password=hunter2", **{CERTIFICATES: pems})
    path = tmp_path / "e.tar.gz"
    collect(path, lambda *_: (True, out, "password=hunter2"))
    found = unpacked(path)
    assert re.search(r"/pki/ca.crt\n  subject CN=kubernetes\n  issuer .*\n  names none\n  from 20.* days left", found[
        f"m1/{CERTIFICATES}"])  # fmt: skip
    assert "/pki/x.crt\n  is not readable\n" in found[f"m1/{CERTIFICATES}"]
    everything = "".join(found.values())
    assert not [word for word in ("hunter2", "BEGIN", *CA.key.splitlines()[1:-1]) if word in everything]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "@fake/m1", "a b\n", "", "é"])
def test_no_name_of_a_host_leads_out_of_the_archive(name: str) -> None:
    folder = module._folder(name, set())
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", folder)
    assert module._folder(name, {folder}) != folder


def test_it_is_one_operation_that_always_has_something_to_do() -> None:
    world = World(workers=["w1"])
    with world.on() as host:
        deploys.evidence()
        (operation,) = world.state.ops[host].values()
        assert [plain(command) for command in operation.command_generator()] == [Calls("_collect", ())]
    assert world.asked == []  # no fact: a host that is broken can be asked too


def test_the_command_writes_the_archive_where_it_is_told(tmp_path: Path) -> None:
    gone = ("10.0.0.99", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_look_for_keys": False})
    (tmp_path / "hosts.py").write_text(f"masters = [{master().row()!r}]\nworkers = [{worker().row()!r}, {gone!r}]\n")
    path = tmp_path / "e.tar.gz"
    command = [sys.executable, "-m", "deploys.cli", "evidence", str(tmp_path / "hosts.py"), "-o", str(path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, env=_environment({})
    )
    said = ran.stdout + ran.stderr
    assert "Traceback" not in said
    assert ran.returncode == 1, said
    assert f"The evidence is in {path}" in said
    assert "10.0.0.99 can't be reached: " in unpacked(path)[f"10.0.0.99/{NOT_COLLECTED}"]
