"""Short commands: deploys/status.py with an exit code for cron and CI, and deploys/evidence.py."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from .report import ABSENT, BROKEN, DRIFTED, HEALTHY, UNKNOWN

EXIT = {HEALTHY: 0, DRIFTED: 1, ABSENT: 2, BROKEN: 2, UNKNOWN: 3}
"""State → exit code. 3 also where there is no status: no host answered, or the inventory or a setting is wrong."""
WORST_FIRST = (2, 3, 1, 0)
"""The worst node decides; what is known to be broken goes before what is not known."""

BEGIN = '{\n "nodes": ['
"""How the status begins, as deploys/status.py prints it."""

_PYINFRA = "from pyinfra_cli.main import main; main()"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A wrong command line tells nothing of the cluster; argparse's own code means that it is broken."""
        self.print_usage(sys.stderr)
        self.exit(EXIT[UNKNOWN], f"{self.prog}: {message}\n")


def _arguments(words: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = _Parser(
        prog="docker-multinode", description=__doc__, epilog="Further options go to pyinfra, like --limit or --data."
    )
    commands = parser.add_subparsers(required=True)
    codes = "Exit code: 0 healthy, 1 drifted, 2 broken or absent, 3 unknown."
    status = commands.add_parser(
        "status", help="the state of a cluster", description=f"The state of a cluster. {codes}"
    )
    status.add_argument("inventory")
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")
    status.set_defaults(run=_status)
    what = "Collect logs, versions and states of all hosts into one archive."
    evidence = commands.add_parser("evidence", help=what, description=what)
    evidence.add_argument("inventory")
    evidence.add_argument(
        "-o", metavar="FILE", dest="path", help="the archive; by default one with the time in its name"
    )
    evidence.set_defaults(run=_evidence)
    wanted, further = parser.parse_known_args(words)
    given = sys.argv[1:] if words is None else words
    if early := [word for word in given[: given.index(wanted.inventory)] if word in further and word.startswith("-")]:
        parser.error(f"options for pyinfra, like {early[0]}, stand after the inventory")
    return wanted, further


def _pyinfra(inventory: str, deploy: str, *words: str) -> list[str]:
    return [sys.executable, "-c", _PYINFRA, inventory, f"{__package__}.roles.{deploy}", "-y", *words]


def _status(wanted: argparse.Namespace, further: list[str]) -> int:
    run = subprocess.run(
        _pyinfra(wanted.inventory, "status", "--data", "status_format=json", *further),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = _report(run.stdout)
    if found is None:
        print(run.stderr.strip() or "nothing was said of the cluster", file=sys.stderr)
        return EXIT[UNKNOWN]
    print(json.dumps(found, indent=1) if wanted.json else found["table"])
    states = [node["state"] for node in found["nodes"]]
    states += ["drifted"] * bool(found["not_in_inventory"])
    codes = {EXIT[state] for state in states}
    if run.returncode or not codes:
        print(run.stderr.strip(), file=sys.stderr)  # of a host that could not be asked
        codes.add(EXIT[UNKNOWN])
    return next(code for code in WORST_FIRST if code in codes)


def _report(printed: str) -> dict[str, Any] | None:
    """The status in what was printed; an inventory may print something too."""
    at = printed.find(BEGIN)
    try:
        found = json.JSONDecoder().raw_decode(printed, at)[0] if at >= 0 else None
        return found if {"nodes", "table"} <= set(found or ()) else None
    except (ValueError, RecursionError):
        return None


def _evidence(wanted: argparse.Namespace, further: list[str]) -> int:
    place = ("--data", f"evidence_path={wanted.path}") if wanted.path else ()
    return subprocess.run(
        _pyinfra(wanted.inventory, "evidence", *place, *further), stdin=subprocess.DEVNULL, check=False
    ).returncode


def main(words: list[str] | None = None) -> int:
    """Run the command line.

    :returns: the exit code.
    """
    wanted, further = _arguments(words)
    run: Callable[[argparse.Namespace, list[str]], int] = wanted.run
    return run(wanted, further)


if __name__ == "__main__":
    sys.exit(main())
