"""When files were written and programs started: what tells whether a program has read its files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import HostFiles
from deploys.operations.files import WRITE, File, archive
from deploys.record import RECORD

from .samples import edited, lines

KUBELET_STARTED = 1795397737
"""2026-11-23T01:35:37Z, as the sample says."""


def test_a_container_tells_when_it_was_started() -> None:
    found = DaemonsFact().process(lines("daemons-master"))
    assert found.main.containers["kubelet"].started == KUBELET_STARTED


@pytest.mark.parametrize("moment", ["0001-01-01", "", None, 7, "later"])
def test_a_moment_that_is_none_is_not_known(moment: object) -> None:
    row = {"name": "/etcd", "state": {"Running": True, "StartedAt": moment}, "labels": {}}
    found = DaemonsFact().process(edited("daemons-master", {"docker-bootstrap containers": json.dumps(row)}))
    assert found.bootstrap.containers["etcd"].started == 0


def test_programs_in_pods_and_the_bootstrap_daemon_tell_it_too() -> None:
    programs = 'program {"name":"kube-proxy","started":"2026-11-23T01:35:37.5Z"}\nprogram {"name":"","started":""}'
    found = DaemonsFact().process(edited("daemons-master", {"docker containers": programs, "started": "1795397700"}))
    assert found.programs == {"kube-proxy": KUBELET_STARTED}
    assert found.bootstrap_started == 1795397700
    silent = DaemonsFact().process(lines("daemons-fresh"))
    assert (silent.programs, silent.bootstrap_started) == ({}, 0)


def test_files_tell_when_they_were_changed() -> None:
    path = "/etc/kubernetes/kubelet.yaml"
    found = HostFiles().process(edited("files-master", {"changed": f"1795397700 {path}\nx /y"}))
    assert found.files[path].changed == 1795397700
    assert found.files["/etc/kubernetes/pki/ca.key"].changed == 0


def test_a_file_that_is_written_has_the_time_of_its_writing(tmp_path: Path) -> None:
    """systemd reads a unit again whose time is newer than when it read it."""
    target = tmp_path / "etc/unit"
    script = WRITE.replace(RECORD, str(tmp_path / "record")).replace("chown", ": chown")
    subprocess.run(["sh", "-c", script], input=archive([File(str(target), "x")]), text=True, check=True)
    assert target.stat().st_mtime > 1_700_000_000


def test_nothing_was_started_before_the_boot_also_where_the_clock_was_behind_then() -> None:
    booted = KUBELET_STARTED + 90
    answer = edited("daemons-master", {"started": f"btime {booted}\n{KUBELET_STARTED - 5000}"})
    found = DaemonsFact().process(answer)
    assert found.main.containers["kubelet"].started == found.bootstrap_started == booted
    assert set(found.programs.values()) == {booted}
    earlier = edited("daemons-master", {"started": f"btime {KUBELET_STARTED - 90}\n{KUBELET_STARTED - 20}"})
    found = DaemonsFact().process(earlier)
    assert found.main.containers["kubelet"].started == KUBELET_STARTED
    assert found.bootstrap_started == KUBELET_STARTED - 20
