"""What a plan shows, taken apart: files, containers, certificates."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .product import Run

_TITLE = re.compile(r"    \[(?P<host>\S+)\] (?P<text>.*)")


def blocks(plan: Run) -> Iterator[tuple[str, str, list[str]]]:
    """Host, title and the lines below it, without the + in front."""
    current: tuple[str, str, list[str]] | None = None
    for line in plan.diff:
        title = _TITLE.fullmatch(line)
        if title:
            if current:
                yield current
            current = (title["host"], title["text"], [])
        elif current:
            current[2].append(re.sub(r"^          (\+ ?)?", "", line))
    if current:
        yield current


def files(plan: Run, host: str) -> dict[str, list[str]]:
    """Path → its lines, of the files that the plan will create on a host."""
    found = {}
    for name, title, lines in blocks(plan):
        match = re.fullmatch(r"Will create (/\S+) \(mode \d+\)", title)
        if match and name == host:
            found[match[1]] = lines
    return found


def containers(plan: Run, host: str) -> dict[str, list[str]]:
    """Name → specification, of the containers that the plan will create on a host."""
    found = {}
    for name, title, lines in blocks(plan):
        match = re.match(r"Will create container (\S+) on the \w+ daemon", title)
        if match and name == host:
            found[match[1]] = lines
    return found


def certificates(plan: Run, host: str) -> dict[str, list[str]]:
    """Path → description, of the certificates and authorities that the plan will make on a host."""
    found = {}
    for name, title, lines in blocks(plan):
        match = re.match(r"Will (?:make authority|issue) (/\S+?\.(?:crt|pem))[, ]", title)
        if match and name == host:
            found[match[1]] = lines
    return found
