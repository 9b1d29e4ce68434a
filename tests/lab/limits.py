"""Limits of the machine that all hosts of the lab share, raised while it is up."""

from __future__ import annotations

from pathlib import Path

from .paths import RUN

WANTED = {"fs.inotify.max_user_instances": 2048, "fs.inotify.max_user_watches": 524288}
"""Hosts are containers of one root: its count of inotify instances (128 by default) is used up by ten kubelets."""

_BEFORE = RUN / "limits"


def _path(key: str) -> Path:
    return Path("/proc/sys") / key.replace(".", "/")


def raise_them() -> None:
    """Raise what is too low, noting first what it was."""
    if _BEFORE.exists():
        return
    before = {key: int(_path(key).read_text()) for key in WANTED}
    _BEFORE.write_text("".join(f"{key} {value}\n" for key, value in before.items()))
    for key, wanted in WANTED.items():
        if before[key] < wanted:
            _path(key).write_text(str(wanted))


def restore() -> None:
    """Set them back to what was noted."""
    if not _BEFORE.exists():
        return
    for line in _BEFORE.read_text().splitlines():
        key, value = line.split()
        _path(key).write_text(value)
    _BEFORE.unlink()
