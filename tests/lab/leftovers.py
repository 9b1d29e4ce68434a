"""What a dockerd leaves behind when it is killed, and how it is taken away: shims, mounts, control groups."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from .paths import CACHE, CGROUP, RUN
from .shell import run

_EXEC_ROOT = RUN / "docker"


def sweep() -> None:
    """Take away what is left of the outer Docker. Only called while its dockerd does not run."""
    for pid in {*_containerds(), *_members()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _remove_cgroups()
    for point in reversed(_mounts()):
        run("umount", "--lazy", point, check=False)
    shutil.rmtree(_EXEC_ROOT, ignore_errors=True)


def _containerds() -> set[int]:
    """containerd and its shims, told from any other on the machine by the exec-root in their command line."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        if Path(words[0]).name.startswith("containerd") and any(str(_EXEC_ROOT) in word for word in words):
            found.add(int(process.name))
    return found


def _members() -> set[int]:
    """Every process of every container: they are all below our control group."""
    found = set()
    for top in _cgroups():
        for folder, _, files in os.walk(top):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):
                    found |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
    return found


def _cgroups() -> list[Path]:
    """Our directory in every hierarchy: one on cgroup v2, one per controller on v1."""
    root = Path("/sys/fs/cgroup")
    parents = [root, *(child for child in root.iterdir() if child.is_dir() and not child.is_symlink())]
    return [parent / CGROUP for parent in parents if (parent / CGROUP).is_dir()]


def _remove_cgroups(seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while (tops := _cgroups()) and time.monotonic() < deadline:
        for top in tops:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):  # a process in it is still ending
                    os.rmdir(folder)
        time.sleep(0.05)


def _mounts() -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = (f"{RUN}/", f"{CACHE}/docker/")
    return [point for point in points if point.startswith(ours)]
