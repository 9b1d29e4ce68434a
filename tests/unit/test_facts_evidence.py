"""The script that asks a host for evidence: it only reads, no secret, in bounded time and size."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploys.facts.evidence import BYTES, CERTIFICATES, ROWS, Row, answers, script
from deploys.record import BACKUPS, KUBELET_CLIENT, RECORD

FILES = {row.file: row for row in ROWS}


def on_this_machine(*rows: Row, path: str = "/usr/bin:/bin:/usr/sbin:/sbin") -> dict[str, str]:
    """What this machine answers."""
    ran = subprocess.run(["sh", "-c", script(rows)], capture_output=True, text=True, timeout=60, env={"PATH": path})
    assert (ran.returncode, ran.stderr) == (0, "")
    return answers(ran.stdout)


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


def test_the_record_is_read_without_backups_which_hold_keys(tmp_path: Path) -> None:
    backups = tmp_path / BACKUPS.removeprefix(RECORD + "/")
    backups.mkdir()
    (backups / "n1.tar.gz").write_text("a key")
    (tmp_path / "node.json").write_text("a node")
    command = FILES["ours/record.txt"].command.replace(RECORD, str(tmp_path))
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert "a node" in said
    assert "a key" not in said


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
    text += "Environment = D=four\\nEnvironment=E=five \\\\\\n# a note\\n  F=six\\n"
    text += 'Environment="G=seven" \\\\\\n'
    found = on_this_machine(Row("a", f"printf '{text}' | {command}"))["a"]
    assert not re.search("one|two|three|four|five|six|seven", found)
    assert found.splitlines()[1] == "Environment=[left out]"
    assert "ExecStart=/x" in found


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a/b/c", "..", ".", "", "a b", "A", "a\\b", "é"])
def test_a_host_that_lies_names_no_file_elsewhere(name: str) -> None:
    assert answers(f"== {name}\nAAAA\n== system/kernel.txt\nAAAA") == {
        "system/kernel.txt": "[the answer was cut off]\n"
    }
