"""Figures of a run, for docs/test-report.md: a JSON file, where the environment variable REPORT names one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Figure = Callable[[str, float], None]
"""Keeps a measured number in the report: figure("seconds until the worker is back", 12.3)."""


@dataclass
class Report:
    """What was measured."""

    figures: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def figure(self, name: str, value: float) -> None:
        """Keep a number, like the seconds until something was back."""
        self.figures[name] = round(value, 1)
        print(f"{name}: {value:.1f}")

    def new_figures(self) -> list[str]:
        """Names of those that were kept since this was asked last."""
        new = [name for name in self.figures if name not in self._told]
        self._told.update(new)
        return new

    def write(self) -> None:
        """Write the file that REPORT names."""
        if path := os.environ.get("REPORT"):
            Path(path).write_text(json.dumps({"figures": self.figures}, indent=1) + "\n")
