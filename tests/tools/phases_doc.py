"""The list of phases in docs/architecture.md, from deploys/phases: python -m tests.tools.phases_doc."""

from __future__ import annotations

import inspect
import re

from deploys.phases import PHASES
from tests.lab.paths import CHECKOUT

PATH = CHECKOUT / "docs/architecture.md"
BEGIN, END = "<!-- phases: written by `make docs` -->", "<!-- end of phases -->"


def table() -> str:
    """A row a phase, in the order of a run."""
    rows = ["| | phase | what it is about | bringing up | turning down |", "|---|---|---|---|---|"]
    for number, phase in enumerate(PHASES, 1):
        file = phase.__name__.rpartition(".")[2]
        about, apply, remove = (_sentence(thing) for thing in (phase, phase.apply, phase.remove))
        rows.append(f"| {number} | [{phase.TITLE}](../deploys/phases/{file}.py) | {about} | {apply} | {remove} |")
    return "\n".join(rows)


def _sentence(function: object) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


def text(page: str) -> str:
    """The page with its list of phases as it is now."""
    return re.sub(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: table() + "\n", page, flags=re.DOTALL)


if __name__ == "__main__":
    PATH.write_text(text(PATH.read_text()))
    print(f"written: {PATH.relative_to(CHECKOUT)}")
