"""Each mistake is refused before anything is changed, by one sentence that says what is wrong and where."""

from __future__ import annotations

import re
from concurrent.futures import Future

import pytest
from pyinfra.api import FactBase, StringCommand

from deploys.facts.access import EtcdAccess
from deploys.facts.backups import BackupFile
from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import EtcdSubnets
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel
from deploys.facts.kubernetes import ClusterNodes, Objects
from deploys.facts.leftovers import Leftovers
from deploys.facts.platform import Platform

from .bad_input import PAIR, ROWS, Row
from .runs import Outcome, master, through_api

FACTS: tuple[type[FactBase[object]], ...] = (
    Platform, DaemonsFact, HostFiles, Kernel, Leftovers, EtcdSubnets, EtcdAccess, ClusterNodes,
)  # type: ignore[assignment]  # fmt: skip
READING = (
    *(StringCommand(f().command()).get_raw_value()[:60].splitlines()[0] for f in FACTS),
    StringCommand(Objects().command(manifest="")).get_raw_value()[:9],
    StringCommand(BackupFile().command(path="/")).get_raw_value()[:2],
)

CLI_ROWS = [row for row in ROWS if row.cli]


def only_reads(commands: tuple[str, ...]) -> bool:
    """Whether hosts were asked facts and nothing else."""
    return all(command.startswith(READING) for command in commands)


def titled(rows: list[Row] | tuple[Row, ...]) -> list[object]:
    """Rows as parameters that carry their titles."""
    return [pytest.param(row, id=re.sub(r"[^\w.:-]+", " ", row.title).strip().replace(" ", "-")) for row in rows]


def test_there_are_at_least_80_rows_and_20_go_through_the_command_line() -> None:
    assert len({row.title for row in ROWS}) == len(ROWS) >= 80
    assert len(CLI_ROWS) >= 20


def test_the_hosts_of_the_table_are_accepted_when_nothing_is_wrong_with_them() -> None:
    for entry in ("cluster", "master", "worker", "turndown"):
        up = {"masters": (master({"ca": "yes"}),)} if entry == "worker" else {}
        outcome = through_api(entry, {**PAIR, **up})
        assert (outcome.code, outcome.said) == (0, "")
        assert only_reads(outcome.commands)
        assert outcome.commands


@pytest.mark.parametrize("row", titled(ROWS))
def test_a_mistake_is_refused_by_one_sentence_before_any_change(row: Row) -> None:
    outcome = through_api(row.entry, row.groups, row.data, row.environment, row.limit)
    assert outcome.code == 1, "nothing was refused"
    assert only_reads(outcome.commands)
    assert "\n" not in outcome.said.strip()
    missing = [word for word in row.says if word not in outcome.said]
    assert not missing, outcome.said


@pytest.mark.parametrize("row", titled(CLI_ROWS))
def test_the_pyinfra_command_says_it_without_a_traceback(row: Row, cli_runs: dict[str, Future[Outcome]]) -> None:
    outcome = cli_runs[row.title].result()
    assert outcome.code == 1
    assert "Traceback" not in outcome.said
    assert "exception occurred" not in outcome.said
    assert only_reads(outcome.commands)
    sentences = [line for line in outcome.said.splitlines() if "error in" in line or line.startswith("Error")]
    assert len(sentences) == 1, outcome.said
    assert all(word in sentences[0] for word in row.says), sentences[0]
    assert "Starting operation" not in outcome.said
