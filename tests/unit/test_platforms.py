"""Arch and init system: rows, each whole."""

from __future__ import annotations

import string

import pytest

from deploys.platforms import ARCHES, KNOWN_INITS, REFUSED_ARCHES, RESTART_STRATEGIES


@pytest.mark.parametrize(
    ("machine", "arch"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm"), ("armv6l", "arm"), ("ppc64le", "ppc64le")],
)
def test_uname_is_translated(machine: str, arch: str) -> None:
    assert ARCHES[machine] == arch


def test_no_machine_is_both_known_and_refused_and_each_refusal_has_a_reason() -> None:
    assert not set(ARCHES) & set(REFUSED_ARCHES)
    assert all(len(reason) > 10 for reason in REFUSED_ARCHES.values())


def test_no_init_system_is_both_built_and_to_come() -> None:
    assert not set(RESTART_STRATEGIES) & set(KNOWN_INITS)


@pytest.mark.parametrize("init", RESTART_STRATEGIES)
def test_each_strategy_is_whole_and_names_the_unit_where_it_must(init: str) -> None:
    strategy = RESTART_STRATEGIES[init]
    assert strategy.init == init
    for step in ("start", "stop", "restart", "enable", "disable", "state"):
        command = getattr(strategy, step)
        assert {name for _, name, _, _ in string.Formatter().parse(command) if name} == {"unit"}
        assert "docker-x" in command.format(unit="docker-x")
