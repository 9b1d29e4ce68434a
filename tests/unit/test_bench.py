"""The bench's own arithmetic and what it reads out of a plan."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from tests.bench import by_hand, operations, ratios
from tests.bench.ratios import Ratio, Series
from tests.bench.stand_ins import StandIn, Worker
from tests.lab.hosts import Host


def _series(name: str, *seconds: float) -> Series:
    return Series(name, list(seconds), [0.5] * len(seconds))


def test_a_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    ratio = Ratio("up", _series("a", 10, 30, 12), _series("b", 10, 10, 8), goal=1.25)
    assert ratio.value == pytest.approx(1.2)
    assert ratio.spread == (1.0, 3.0)


def test_a_goal_is_met_up_to_itself_and_missed_above() -> None:
    assert Ratio("", _series("a", 5), _series("b", 4), goal=1.25).verdict == "met (goal: at most 1.25)"
    assert Ratio("", _series("a", 5.1), _series("b", 4), goal=1.25).verdict == "MISSED (goal: at most 1.25)"
    assert Ratio("", _series("a", 5.1), _series("b", 4)).verdict == "reported"


def test_a_round_that_only_one_side_finished_does_not_count_for_the_spread() -> None:
    ratio = Ratio("up", _series("a", 2, 100), _series("b", 1))
    assert ratio.spread == (2.0, 2.0)
    assert ratios.rows([ratio])[0][-2] == "1"


def test_the_table_has_a_row_a_ratio_and_even_columns() -> None:
    lines = ratios.table([Ratio("cold", _series("a", 9, 11), _series("b", 10, 10), 1.25)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells == ["cold", "10.0 s", "b", "10.0 s", "1.00", "2: 0.90 to 1.10", "met (goal: at most 1.25)"]


def test_measure_keeps_the_seconds_of_the_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [10.0]
    monkeypatch.setattr(ratios, "time", SimpleNamespace(monotonic=lambda: clock[-1]))
    series = Series("x")
    assert series.measure(lambda: clock.append(12.5)) == 2.5
    assert clock == [10.0, 12.5]
    assert series.seconds == [2.5]
    assert len(series.load) == 1


def test_a_specification_becomes_the_words_of_docker_run() -> None:
    lines = ["image a/b:1", "revision 12", "option -v", "option /x:/x", "argument bash", "argument -c", "argument a b"]
    assert by_hand.words_of(lines) == ("a/b:1", ["-v", "/x:/x", "a/b:1", "bash", "-c", "a b"])


WORKER = Worker(Host("n52", "26"), "10.1.2", "2a:19:f0:91:9d:fe")


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        ('"--hostname-override=n52"', '"--hostname-override=s03"'),
        ("system:node:n52", "system:node:s03"),
        ("inet 10.89.0.62/24 brd 10.89.0.255", "inet 10.89.0.113/24 brd 10.89.0.255"),
        ("--bip=10.1.2.1/24 of 10.1.0.0/16", "--bip=10.1.103.1/24 of 10.1.0.0/16"),
        ("10.1.20.1 n521 an52 10.89.0.621 210.1.2.1", "10.1.20.1 n521 an52 10.89.0.621 210.1.2.1"),
        ("QUJDn52+n52x/9n52", "QUJDn52+n52x/9n52"),
        ("link/ether 2a:19:f0:91:9d:fe brd ff:ff:ff:ff:ff:ff", "link/ether 02:00:00:00:00:03 brd ff:ff:ff:ff:ff:ff"),
    ],
)
def test_a_stand_in_speaks_in_its_own_name_and_leaves_other_words_alone(said: str, translated: str) -> None:
    to = StandIn(3)
    assert WORKER.translate(said, to) == translated
    sed = subprocess.run(("sed", WORKER.script(to)), input=said, capture_output=True, text=True, check=True)
    assert sed.stdout == translated


def test_an_operation_lasts_until_the_next_line_that_starts_one() -> None:
    lines = [
        (0.5, "--> Loading config...\n"),
        (2.0, "\x1b[34m--> Starting operation: \x1b[1mKubernetes | etcd | Run etcd\x1b[0m \n"),
        (2.5, "    [n1] Success\n"),
        (6.0, "--> Starting operation: Kubernetes | etcd | Wait for etcd\n"),
        (9.0, "--> Results:\n"),
    ]
    timed = operations.split(lines, 9.5)
    assert timed == [
        (operations.BEFORE, 2.0),
        ("Kubernetes | etcd | Run etcd", 4.0),
        ("Kubernetes | etcd | Wait for etcd", 3.0),
        (operations.AFTER, 0.5),
    ]
    assert operations.table(timed, at_least=3).splitlines()[2:] == [
        "| etcd: Run etcd | 4.0 |",
        "| etcd: Wait for etcd | 3.0 |",
        "| 2 others, each below 3 s | 2.5 |",
        "| all | 9.5 |",
    ]
