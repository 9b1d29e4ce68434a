"""How fast the product is, as ratios that are measured in one run: python -m tests.bench [PART …]."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.shell import LabError
from tests.tools.run import lab_as_it_was

from . import cold, noop, operations, ratios, stand_ins
from .ratios import Ratio

PARTS = ("cold", "noop", "many")
"""Install and turndown; a run without changes; the same on many hosts."""


def main() -> int:
    """Measure the parts that the command line names and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"out of {', '.join(PARTS)} (all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each install is measured (3)")
    parser.add_argument("--hosts", default="n11,n12", help="names of the master and the worker; they are made anew")
    parser.add_argument("--docker", default="26", help="Docker of the hosts (26)")
    parser.add_argument("--json", type=Path, help="also write all numbers there")
    parser.add_argument("--no-build", action="store_true", help="do not look whether every image of the lab is built")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # a user's Python keeps what it compiled, as pip has done for pyinfra
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        found, timed = _measure(options)
    except (LabError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\n{ratios.table(found)}\n\n{ratios.load(found)}")
    for entry, runs in timed.items():
        print(f"\ndeploys/{entry}.py, the quickest run:\n")
        print(operations.table(min(runs, key=operations.total), at_least=1))
    if options.json:
        options.json.write_text(json.dumps([ratio.as_json() for ratio in found], indent=1) + "\n")
    return 0


def _measure(options: argparse.Namespace) -> tuple[Sequence[Ratio], dict[str, list[operations.Timed]]]:
    parts = options.parts or PARTS
    found: list[Ratio] = []
    names = options.hosts.split(",")
    with lab_as_it_was(needed=True), tempfile.TemporaryDirectory() as folder:
        bench = cold.Bench(Lab.up(build=not options.no_build), names, options.docker, Path(folder))
        try:
            if "cold" in parts:
                found += cold.measure(bench, options.rounds)
            if "noop" in parts or "many" in parts:
                bench.up(stand_ins.CLUSTER_DATA)
            if "noop" in parts:
                found += noop.measure(bench, 2 * options.rounds + 1)
            if "many" in parts:
                found += noop.many(bench, Path(folder), options.rounds)
        finally:
            for host in bench.hosts:
                host.remove()
    return found, {entry: runs for entry, runs in bench.timed.items() if runs}


if __name__ == "__main__":
    sys.exit(main())
