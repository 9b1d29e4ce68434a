"""The archive of evidence: what hosts are asked, who can read it, and what stands in it of a host that is down."""

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

import pytest
from pyinfra.api import DeployError
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host

from deploys import x509
from deploys.facts.evidence import BYTES, CERTIFICATES, ROWS, Row, answers, script
from deploys.operations import evidence as module
from deploys.operations.evidence import NOT_COLLECTED, archive_path, evidence_collected
from deploys.record import KUBELET_CLIENT

from .harness import Calls, World, logged, plain
from .runs import ROOT, _environment, master, worker

FILES = {row.file: row for row in ROWS}
CA = x509.new_authority("kubernetes")
Told = Callable[[Host, str], tuple[bool, str, str]]


def on_this_machine(*rows: Row, path: str = "/usr/bin:/bin:/usr/sbin:/sbin") -> dict[str, str]:
    """What this machine answers."""
    ran = subprocess.run(["sh", "-c", script(rows)], capture_output=True, text=True, timeout=60, env={"PATH": path})
    assert (ran.returncode, ran.stderr) == (0, "")
    return answers(ran.stdout)


# ---- the rows


def test_every_row_has_a_file_of_its_own_with_a_limit() -> None:
    assert len(FILES) == len(ROWS)
    for row in ROWS:
        assert re.fullmatch(r"([a-z]+/)?[a-z.-]+\.(txt|log)", row.file)
        assert 0 < row.seconds <= 30
        assert 0 < row.lines <= 5000


@pytest.mark.parametrize(
    "word",
    ["inspect", "secret", "configmap", "environ", "cmdline", "ps aux", "pki/*", "kubeconfig view", "{{.Command}}"],
)
def test_no_row_reads_keys_secrets_or_environments(word: str) -> None:
    assert [row.file for row in ROWS if word in row.command] == []


@pytest.mark.parametrize("word", ["rm ", "start", "restart", "apply", "delete", "create", ">>", "prune", "sysctl -w"])
def test_no_row_changes_anything(word: str) -> None:
    assert [row.file for row in ROWS if re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", row.command)] == []


def test_pem_files_are_read_between_the_marks_of_a_certificate_only() -> None:
    rows = [row.file for row in ROWS if ".crt" in row.command or KUBELET_CLIENT in row.command]
    assert rows == [CERTIFICATES]
    assert "sed -n '/-BEGIN CERT/,/-END CERT/p'" in FILES[CERTIFICATES].command


def test_both_daemons_are_asked_for_the_same_and_only_while_they_run() -> None:
    for name in ("version", "info", "containers"):
        main, bootstrap = FILES[f"docker/main-{name}.txt"], FILES[f"docker/bootstrap-{name}.txt"]
        assert main.command.removeprefix("main") == bootstrap.command.removeprefix("bootstrap")
    assert [row.file for row in ROWS if re.search(r"\bdocker (-H|ps|logs|info)", row.command)] == []


def test_the_whole_script_runs_on_a_machine_without_docker_and_fits_a_command_line(tmp_path: Path) -> None:
    assert len(script()) < 30_000
    found = on_this_machine(*ROWS)
    assert list(found) == list(FILES)
    assert "PRETTY_NAME" in found["system/os-release.txt"]
    assert "PRIVATE KEY" not in "".join(found.values())


def test_what_a_row_says_is_bounded_and_can_not_look_like_another_row() -> None:
    found = on_this_machine(
        Row("a", "echo '== b'; seq 9", lines=3),
        Row("b", "head -c 3000000 /dev/zero | tr '\\0' x"),
        Row("c", "echo out; echo err >&2; exit 3"),
        Row("d", "echo begun; sleep 30", seconds=1),
        Row("e", "printf '\\377\\000\\033[31m'"),
        Row("f", 'echo "it\'s $((1 + 1))"'),
        Row("g", "cat"),
    )
    assert list(found) == ["a", "b", "c", "d", "e", "f", "g"]
    assert found["a"] == "7\n8\n9\n"
    assert len(found["b"]) == BYTES
    assert found["c"] == "out\nerr\n[exit status 3]\n"
    assert found["d"] == "begun\n[not done in 1 s]\n"
    assert found["e"] == "�\x00\x1b[31m"
    assert found["f"] == "it's 2\n"
    assert found["g"] == ""


@pytest.mark.parametrize(
    "output", ["", "no row", "== a", "== a\nA", "== a\n!!!!", "== a\nH4sI", "== a\n== b\nAAAA", "\x00== a\n== \n="]
)
def test_whatever_a_host_answers_nothing_breaks(output: str) -> None:
    assert all(text == "[the answer was cut off]\n" for text in answers(output).values())


def test_variables_of_units_are_left_out_also_on_continued_lines() -> None:
    command = FILES["units/text.txt"].command.partition("| ")[2]
    text = '[Service]\\nEnvironment=A=one \\\\\\n  B=two\\nEnvironment="C=three"\\nExecStart=/x \\\\\\n  -y\\n'
    found = on_this_machine(Row("a", f"printf '{text}' | {command}"))["a"]
    assert not re.search("one|two|three", found)
    assert found.splitlines()[1] == "Environment=[left out]"
    assert "ExecStart=/x" in found


# ---- the archive


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
    assert (tmp_path / "file").read_text() == "theirs"


def test_what_came_there_meanwhile_stays_and_the_run_fails(tmp_path: Path) -> None:
    path = tmp_path / "e.tar.gz"

    def say(*_: object) -> tuple[bool, str, str]:
        path.write_text("theirs")
        return True, "", ""

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
    assert results == [True, True]
    found = unpacked(path)
    assert found["w1/not-collected.txt"] == "w1 can't be reached: SSH error (timed out)\n"
    assert found["w2/a"] == "I work"
    assert "sudo: a password is required" in found[f"m1/{NOT_COLLECTED}"]
    assert "w1: w1 can't be reached: SSH error (timed out)" in found["README.txt"]
    assert "not complete: w1 can't be reached: SSH error (timed out)" in lines


def test_a_host_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gevent

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
        from deploys import evidence

        evidence()
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
