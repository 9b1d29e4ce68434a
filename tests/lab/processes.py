"""The lab's daemons: started in the background, recorded, stopped only while they are who was recorded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .paths import RUN
from .shell import LabError, say

PIDS = RUN / "pids"
LOGS = RUN / "logs"


def start(name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Start a daemon unless it runs already; its output goes to a log in the run directory."""
    if alive(name):
        return
    for directory in (PIDS, LOGS):
        directory.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in argv],
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    record = {"pid": process.pid, "started": _started(process.pid)}
    (PIDS / name).write_text(json.dumps(record))


def alive(name: str) -> bool:
    """Whether the process that was recorded under this name is still that one."""
    return _pid(name) is not None


def stop(name: str, patience: float = 30) -> None:
    """End the recorded process: by SIGTERM, after `patience` seconds by SIGKILL."""
    pid = _pid(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while _pid(name) is not None:
            if time.monotonic() > deadline:
                say(f"{name} (process {pid}) does not end: killed")
                os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
            _reap(pid)
            time.sleep(0.05)
    (PIDS / name).unlink(missing_ok=True)


def wait_for(name: str, ready: Path | None, seconds: float) -> None:
    """Wait until a daemon made its socket; tell its last words if it died instead."""
    deadline = time.monotonic() + seconds
    while ready is not None and not ready.exists():
        if not alive(name) or time.monotonic() > deadline:
            raise LabError(f"{name} did not start:\n{last_words(name)}")
        time.sleep(0.05)


def last_words(name: str, lines: int = 15) -> str:
    """The end of a daemon's log."""
    log = LOGS / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def _pid(name: str) -> int | None:
    try:
        record = json.loads((PIDS / name).read_text())
    except (OSError, ValueError):
        return None
    pid = int(record["pid"])
    return pid if record["started"] is not None and _started(pid) == record["started"] else None


def _started(pid: int) -> str | None:
    """When a process began (clock ticks since boot): with the pid, this is one process and no later one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # started by an earlier run of the lab: init reaps it
        os.waitpid(pid, os.WNOHANG)
