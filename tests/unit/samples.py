"""What real hosts answered to the facts' commands: Debian 13 with Docker 26.1.5 or 28.5.2, fresh or with a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PLACE = Path(__file__).parent / "samples"


def lines(name: str) -> list[str]:
    """The lines of one answer, as pyinfra hands them to a fact."""
    text = (PLACE / f"{name}.txt").read_text().splitlines()
    return text if text[-1:] == ["== end"] else [*text, "== end"]


def edited(name: str, sections: Mapping[str, str | None]) -> list[str]:
    """An answer with some of its sections replaced; None takes one out. `_` in a name stands for `-`."""
    wanted = {key.replace("__", ".").replace("_", "-"): value for key, value in sections.items()}
    result: list[str] = []
    keep = True
    seen: set[str] = set()
    for line in lines(name):
        if line.startswith("== "):
            title = line[3:]
            keep = title not in wanted
            if not keep and title not in seen:
                seen.add(title)
                value = wanted[title]
                if value is not None:
                    result += [line, *value.splitlines()]
                continue
        if keep:
            result.append(line)
    for title in wanted.keys() - seen:  # a section that the script got after the sample was taken
        result += [f"== {title}", *(wanted[title] or "").splitlines()]
    return result
