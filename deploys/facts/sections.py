"""Answers of several commands in one execution: `== name` lines part them."""

from __future__ import annotations

from collections.abc import Iterable


def split(output: Iterable[str]) -> dict[str, list[str]]:
    """Lines after ``== name`` belong to name; what stands before the first is dropped."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in output:
        if line.startswith("== "):
            current = sections.setdefault(line[3:], [])
        else:
            current.append(line)
    return sections


def first(sections: dict[str, list[str]], name: str) -> str:
    """The first line of a section, or an empty string."""
    lines = sections.get(name) or [""]
    return lines[0].strip()
