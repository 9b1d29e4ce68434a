"""Answers of several commands in one execution: `== name` lines part them, and `== end` is the last.

What a login shell prints before the first is dropped. An answer that is not whole is refused: what is missing in it
would read as "not there".
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from pyinfra.api import FactBase, FactProcessError, StringCommand
from typing_extensions import override

from ..record import LOCAL_DOCKER

T = TypeVar("T")
Sections = dict[str, list[str]]

END = 'echo "== end"'
"""The last command of each script."""

UNREAD: Any = object()
"""What a fact gives when its script printed nothing at all: observe() refuses it."""


def whole(path: str) -> str:
    """A command that prints a file in a section, with a line end also where it has none: the next heading would stand
    in its last line. Of a file that is not there it prints an empty line."""
    return f"printf '%s\\n' \"$(cat {path} 2>/dev/null)\""


def split(output: Iterable[str]) -> Sections:
    """Lines after ``== name`` belong to name; what stands before the first is dropped.

    :raises FactProcessError: there is no end, or a name comes twice.
    """
    output = list(output)
    sections = parts(output)
    names = [line[3:] for line in output if line.startswith("== ")]
    if twice := [name for name in sections if names.count(name) > 1]:
        raise FactProcessError(f"the host's answer has its part {shown(twice[0])} twice")
    if "end" not in sections:
        last = next(reversed(sections), None)
        where = f"was cut off in its part {shown(last)}" if last else f"was {shown(' '.join(output))}"
        raise FactProcessError(f"the host's answer {where}")
    return sections


def parts(output: Iterable[str]) -> Sections:
    """The same for an answer that may end anywhere."""
    sections: Sections = {}
    current: list[str] = []
    for line in output:
        if line.startswith("== "):
            current = sections.setdefault(line[3:], [])
        else:
            current.append(line)
    return sections


def shown(text: object) -> str:
    """What a host said, in a sentence: on one line, and not too long."""
    said = repr(text)
    return said if len(said) <= 80 else f"{said[:70]}…"


def word(text: object) -> str:
    """The same for what mostly is a name or an address: as it is, where that can be read."""
    said = str(text)
    return said if said.isprintable() and len(said) < 100 else shown(text)


def unlike(lines: Iterable[str], wanted: re.Pattern[str]) -> str | None:
    """The first of the lines that does not look so, None where all do; an empty one may be it."""
    return next((line for line in lines if not wanted.fullmatch(line)), None)


def first(sections: Sections, name: str) -> str:
    """The first line of a section, or an empty string."""
    lines = sections.get(name) or [""]
    return lines[0].strip()


def json_object(text: str) -> dict[str, Any] | None:
    """A JSON object of the host's, None where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def variables(lines: Iterable[str]) -> dict[str, str]:
    """What lines like NAME=value say; others are left out."""
    return dict(line.split("=", 1) for line in lines if "=" in line)


def number(text: str) -> int | None:
    """A whole number of the host's, None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


class Sectioned(FactBase[T]):
    """A fact whose command answers in sections."""

    headings: ClassVar[tuple[str, ...]] = ()
    """Sections that are always there."""

    @staticmethod
    @override
    def default() -> Any:
        return UNREAD

    @override
    def process(self, output: list[str]) -> T:
        sections = split(output)
        if missing := [name for name in self.headings if name not in sections]:
            raise FactProcessError(f"the host's answer lacks its part {missing[0]!r}")
        return self.read(sections)

    @abstractmethod
    def read(self, sections: Sections) -> T:
        """What the sections say.

        :raises FactProcessError: something in them can't be read.
        """


class Bundle(Sectioned[T]):
    """A fact whose command is a script. A heading at the beginning of a line of it is always printed."""

    script: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.headings = tuple(re.findall(r'^echo "== ([^"$]+)"', cls.script, re.MULTILINE))

    @override
    def command(self) -> StringCommand:
        return StringCommand(f"{LOCAL_DOCKER}\n{self.script.strip()}")
