"""``docker-multinode status INVENTORY``: deploys/status.py with an exit code, for cron and CI."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from .report import ABSENT, BROKEN, DRIFTED, HEALTHY

EXIT = {HEALTHY: 0, DRIFTED: 1, ABSENT: 2, BROKEN: 2}
"""State → exit code; the worst node decides."""
UNKNOWN = 3
"""The status could not be told: no host answered, or the inventory or a setting is wrong."""

_PYINFRA = "from pyinfra_cli.main import main; main()"


def _arguments(words: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="docker-multinode",
        description="The state of a cluster. Exit code: 0 healthy, 1 drifted, 2 broken or absent, 3 unknown.",
        epilog="Further options go to pyinfra, like --limit or --data.",
    )
    parser.add_argument("command", choices=["status"])
    parser.add_argument("inventory")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_known_args(words)


def main(words: list[str] | None = None) -> int:
    """Run the command line.

    :returns: the exit code.
    """
    wanted, further = _arguments(words)
    deploy = f"{__package__}.roles.status"
    run = subprocess.run(
        [sys.executable, "-c", _PYINFRA, wanted.inventory, deploy, "-y", "--data", "status_format=json", *further],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(run.stdout)
    except ValueError:
        print(run.stderr.strip(), file=sys.stderr)
        return UNKNOWN
    print(run.stdout if wanted.json else found["table"], end="\n" if not wanted.json else "")
    if run.returncode:  # a host that could not be reached
        print(run.stderr.strip(), file=sys.stderr)
        return UNKNOWN
    return max((EXIT[node["state"]] for node in found["nodes"]), default=UNKNOWN)


if __name__ == "__main__":
    sys.exit(main())
