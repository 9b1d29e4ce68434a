"""What a lab leaves behind when it or its records are killed, and how it is taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from pathlib import Path

from .paths import CACHE, CGROUP, MACHINE_ADDRESS, RUN
from .shell import run

_DAEMONS = ("containerd", "dockerd", "docker-registry", "apt-cacher-ng")


def sweep() -> None:
    """Take away processes, control groups, mounts. Only called when nothing of the lab is to run."""
    for pid in {*_daemons(), *_members()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _remove_cgroups()
    for point in reversed(_mounts()):
        run("umount", "--lazy", point, check=False)
    shutil.rmtree(RUN / "docker", ignore_errors=True)
    _tidy_run()


def _daemons() -> set[int]:
    """Our daemons and the outer Docker's helpers, told from any other of the machine by their command lines."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        ours = Path(words[0]).name.startswith(_DAEMONS) and any(word.startswith(f"{RUN}/") for word in words)
        if ours or (words[1:3] == ["-m", "http.server"] and MACHINE_ADDRESS in words):
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


def _tidy_run() -> None:
    """What Docker makes in /run whatever its settings say. What is not dead and empty is another Docker's."""
    for path in Path("/run/containerd/s").glob("*"):
        with socket.socket(socket.AF_UNIX) as shim:
            try:
                shim.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            except OSError:
                pass
    for top in ("docker", "containerd"):
        for folder, _, _ in os.walk(Path("/run") / top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _mounts() -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if f"{point}/".startswith((f"{RUN}/", f"{CACHE}/docker/"))]
