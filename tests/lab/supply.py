"""Filling the lab's registry and file server from the catalogue."""

from __future__ import annotations

from .catalogue import ROWS
from .shell import LabError, say


def publish_ready() -> None:
    """Publish what the cache has, which takes no time."""
    for row in ROWS:
        if row.ready():
            row.publish()


def prepare(publish: bool) -> None:
    """Make what is missing, in the catalogue's order; one that fails does not keep the others from it."""
    failed = []
    for row in ROWS:
        try:
            if not row.ready():
                say(f"missing: {row.title}")
                row.prepare()
            if publish and row.publish():
                say(f"published: {row.title}")
        except (LabError, OSError) as error:
            say(f"FAILED: {row.title}: {error}")
            failed.append(row.title)
    if failed:
        raise LabError(f"not made: {', '.join(failed)} (the reasons are above)")
