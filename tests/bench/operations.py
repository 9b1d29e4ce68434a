"""Where the time of a run goes: how long each operation lasted, by the lines that pyinfra prints."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterable

from tests.cluster.product import Product

_START = re.compile(r"--> Starting operation: (?P<name>.*?)\s*$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BEFORE = "(start, connect, look at the hosts)"
AFTER = "(results, disconnect)"

Timed = list[tuple[str, float]]
"""Operation → its seconds on the slowest host, in the order of the run."""


def run(product: Product, entry: str) -> Timed:
    """Apply deploys/ENTRY.py and take the time of each operation.

    :raises AssertionError: it failed; with the end of what it printed.
    """
    words = product.argv(entry, "-y")
    begin, lines = time.monotonic(), []
    with subprocess.Popen(
        words, cwd=product.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            lines.append((time.monotonic() - begin, line))
    end = time.monotonic() - begin
    assert process.returncode == 0, "".join(line for _, line in lines[-60:])
    return split(lines, end)


def split(lines: Iterable[tuple[float, str]], end: float) -> Timed:
    """Operations with their seconds, of lines with the time at which each was printed."""
    found: Timed = []
    name, since = BEFORE, 0.0
    for at, line in lines:
        text = _COLOUR.sub("", line)
        match = _START.search(text)
        if match or (text.startswith("--> Results") and name != AFTER):
            found.append((name, at - since))
            name, since = (match["name"] if match else AFTER), at
    found.append((name, end - since))
    return found


def total(timed: Timed) -> float:
    """Seconds of the whole run."""
    return sum(seconds for _, seconds in timed)


def table(timed: Timed, at_least: float) -> str:
    """A Markdown table of what lasted; the rest as one row.

    :param at_least: seconds from which an operation has a row of its own.
    """
    rows = [
        (name.removeprefix("Kubernetes | ").replace(" | ", ": "), seconds)
        for name, seconds in timed
        if seconds >= at_least
    ]
    rest = [seconds for _, seconds in timed if seconds < at_least]
    rows.append((f"{len(rest)} others, each below {at_least:g} s", sum(rest)))
    rows.append(("all", total(timed)))
    return "\n".join(("| operation | seconds |", "|---|---|", *(f"| {n} | {s:.1f} |" for n, s in rows)))
