"""The cache: directories named after the hash of what they are made from. What is there is complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .paths import CACHE


def key(*parts: object) -> str:
    """A short name for a recipe; any change of the recipe is another name."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def keep(kind: str, name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """The directory that `make` fills, made once. It gets its real name only when `make` came to its end."""
    final = CACHE / kind / f"{name}-{recipe}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final.parent)
    temporary = final.parent / f".{name}.{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        make(temporary)
        with contextlib.suppress(FileExistsError):  # another process was quicker
            temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def _sweep(directory: Path) -> None:
    """Remove what builds that were killed left."""
    for left in directory.glob(".*.tmp"):
        pid = left.name.split(".")[-2]
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
