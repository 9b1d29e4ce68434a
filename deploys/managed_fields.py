"""Fields of an object that somebody else has set since: named by the API server, and left as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# as of v1.37: k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go
_ONE = re.compile(r'conflict with "([^"]*)".*?: (\..+)$')
_SEVERAL = re.compile(r'conflicts with "([^"]*)"')
_STEP = re.compile(r"\[((?:\"(?:[^\"\\]|\\.)*\"|[^\"\]])*)\]")
_KEY = re.compile(r'(\w*)=("(?:[^"\\]|\\.)*"|[^,]+)')


@dataclass(frozen=True)
class Taken:
    """A field that another field manager owns with another value than ours."""

    manager: str
    path: str
    """As the API server writes it: ``.spec.template.spec.containers[name="coredns"].image``."""


def conflicts(lines: Iterable[str]) -> tuple[Taken, ...]:
    """What the API server says when server-side apply meets fields of others."""
    found, manager = [], ""
    for line in lines:
        if one := _ONE.search(line):
            found.append(Taken(one[1], one[2]))
        elif several := _SEVERAL.search(line):
            manager = several[1]
        elif manager and line.startswith("- ."):
            found.append(Taken(manager, line[2:]))
    return tuple(found)


def leave(document: dict[str, Any], path: str) -> bool:
    """Take a field out of an object, so that applying it leaves the field to its owner; False if it is not in it."""
    parent: Any = None
    key: Any = None
    here: Any = document
    while path:
        step = _step(here, path)
        if step is None:
            return False
        parent, (key, length) = here, step
        here, path = here[key], path[length:]
    if parent is None:
        return False
    del parent[key]
    return True


def _step(here: Any, path: str) -> tuple[Any, int] | None:
    """The key or index that a path begins with, and the length of its text; None where nothing is there."""
    if isinstance(here, dict) and path.startswith("."):
        # a label's key has dots of its own: the longest that fits
        names = [n for n in here if path.startswith(f".{n}") and path[len(n) + 1 : len(n) + 2] in ("", ".", "[")]
        name = max(names, key=len, default=None)
        return None if name is None else (name, len(name) + 1)
    step = _STEP.match(path)
    if isinstance(here, list) and step:
        # the server writes keys that it has defaulted too: those are not in ours
        for defaulted in (False, True):
            for index, item in enumerate(here):
                if _is(item, index, step[1], defaulted):
                    return index, step.end()
    return None


def _is(item: Any, index: int, words: str, defaulted: bool) -> bool:
    """Whether a list's item is meant by ``name="a",port=80``, by ``="value"``, or by ``3``."""
    if words.isdigit():
        return index == int(words)
    for key, value in _KEY.findall(words):
        fields = item if isinstance(item, dict) else {"": item}
        if json.dumps(fields.get(key)) != value and not (defaulted and key and key not in fields):
            return False
    return True
