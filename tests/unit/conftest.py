"""What holds for all unit tests. Runs of the pyinfra command take a second each: they start with the session, beside
the other tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from pyinfra.api.host import Host

from .bad_input import Row
from .runs import Outcome, through_cli


@pytest.fixture(scope="session", autouse=True)
def cli_runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Outcome]]]:
    """Title → the run of that row by the pyinfra command, for the rows that were selected."""

    def start(row: Row, place: Path) -> Outcome:
        data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.data.items()}
        return through_cli(place, row.entry, row.groups, data, row.environment, row.limit)

    selected = [i for i in request.session.items if i.name.startswith("test_the_pyinfra_command_says")]
    rows: list[Row] = [item.callspec.params["row"] for item in selected]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        # not in the thread: pytest's factory makes its root at its first call, which two threads can both be
        yield {row.title: pool.submit(start, row, tmp_path_factory.mktemp("row")) for row in rows}
        pool.shutdown(cancel_futures=True)


_GET_FACT = Host.get_fact


@pytest.fixture(autouse=True)
def _no_test_leaves_a_stand_in() -> Iterator[None]:
    """A stand-in for pyinfra that outlives its test breaks another one, far away."""
    yield
    assert Host.get_fact is _GET_FACT
