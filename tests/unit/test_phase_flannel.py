"""flannel's container: what makes it another one, and when it is ready."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploys.operations.containers import Spec
from deploys.phases import etcd, flannel
from deploys.record import FLANNEL_RUN
from deploys.topology import Node

from .harness import World


def test_another_backend_replaces_the_container_which_reads_it_at_its_start_only() -> None:
    before, after = (flannel.spec(World(data={"flannel_backend": b}).node()) for b in ("vxlan", "host-gw"))
    assert before.lines() != after.lines()
    assert "revision backend host-gw" in after.lines()


@pytest.mark.parametrize("spec", [etcd.spec, flannel.spec])
def test_what_the_network_stands_on_is_ended_as_late_as_a_node_critical_pod_where_memory_runs_out(
    spec: Callable[[Node], Spec],
) -> None:
    assert "option --oom-score-adj=-997" in spec(World().node()).lines()


@pytest.mark.parametrize(
    ("written_after", "inspect", "ready"),
    [
        (1, "echo STARTED", True),
        (-1, "echo STARTED", False),  # by the flannel before, or copied from the record
        (1, "echo", False),  # it does not run
        (1, "false", False),  # it is not there
    ],
)
def test_flannel_is_ready_when_its_file_is_newer_than_its_start(
    written_after: int, inspect: str, ready: bool, tmp_path: Path
) -> None:
    now = dt.datetime.now(dt.UTC)
    (tmp_path / "subnet.env").touch()
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{inspect}\n".replace("STARTED", f"{now:%Y-%m-%dT%H:%M:%S.%f}789Z"))
    (tmp_path / "docker").chmod(0o755)
    at = (now + dt.timedelta(milliseconds=20 * written_after)).timestamp()
    os.utime(tmp_path / "subnet.env", (at, at))
    script = f"PATH={tmp_path}:$PATH; {flannel.READY.replace(FLANNEL_RUN, str(tmp_path))}"
    assert (subprocess.run(["sh", "-c", script], check=False).returncode == 0) is ready
