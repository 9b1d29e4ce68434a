"""Ratios of what was measured side by side, with their spread."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Series:
    """One thing measured several times."""

    name: str
    seconds: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    """The machine's load average over a minute when each began."""

    def measure(self, call: Callable[[], object]) -> float:
        """Take the time of a call and keep it.

        :returns: its seconds.
        """
        load, begin = os.getloadavg()[0], time.monotonic()
        call()
        self.keep(time.monotonic() - begin, load)
        return self.seconds[-1]

    def keep(self, seconds: float, load: float) -> None:
        """Keep what was measured elsewhere."""
        self.seconds.append(seconds)
        self.load.append(load)

    @property
    def median(self) -> float:
        """The middle one.

        :raises statistics.StatisticsError: nothing was measured.
        """
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """One series over another that was measured in turns with it."""

    title: str
    ours: Series
    theirs: Series
    goal: float | None = None
    """The ratio should be at most this; None where it is only reported."""

    @property
    def value(self) -> float:
        """Median over median."""
        return self.ours.median / self.theirs.median

    @property
    def spread(self) -> tuple[float, float]:
        """Least and greatest ratio of a round: of the n-th to the n-th."""
        rounds = [a / b for a, b in zip(self.ours.seconds, self.theirs.seconds, strict=False)]
        return min(rounds), max(rounds)

    @property
    def verdict(self) -> str:
        """Whether the goal was met."""
        if self.goal is None:
            return "reported"
        return f"{'met' if self.value <= self.goal else 'MISSED'} (goal: at most {self.goal:g})"

    def as_json(self) -> dict[str, Any]:
        """All numbers, for machines."""
        return {**asdict(self), "value": self.value, "spread": self.spread}


HEADINGS = ("", "median", "against", "median", "ratio", "rounds", "")


def rows(ratios: Sequence[Ratio]) -> list[tuple[str, ...]]:
    """A row a ratio, as HEADINGS name the columns."""
    found: list[tuple[str, ...]] = []
    for ratio in ratios:
        low, high = ratio.spread
        rounds = min(len(ratio.ours.seconds), len(ratio.theirs.seconds))
        spread = f"{rounds}: {low:.2f} to {high:.2f}" if rounds > 1 else "1"
        medians = (f"{ratio.ours.median:.1f} s", ratio.theirs.name, f"{ratio.theirs.median:.1f} s")
        found.append((ratio.title, *medians, f"{ratio.value:.2f}", spread, ratio.verdict))
    return found


def load(ratios: Sequence[Ratio]) -> str:
    """A sentence about how busy the machine was with other things."""
    values = [value for ratio in ratios for series in (ratio.ours, ratio.theirs) for value in series.load]
    low, high = min(values), max(values)
    return f"{os.cpu_count()} cores; load average when a measurement began: {low:.1f} to {high:.1f}"


def table(ratios: Sequence[Ratio]) -> str:
    """All of it as a Markdown table, its columns padded for people."""
    lines = [HEADINGS, *rows(ratios)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
