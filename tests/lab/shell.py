"""Running commands and telling the user what goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

Result = subprocess.CompletedProcess[str]


class LabError(Exception):
    """Something that the user of the lab has to know; its text is the whole message."""


def say(text: str) -> None:
    """One line of progress. On stderr: stdout is for what a command was asked for."""
    print(f"[lab {time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def run(
    *command: str | Path,
    check: bool = True,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    not_begun: str | None = None,
) -> Result:
    """Run a command to its end with its output caught; on failure the error holds what it printed.

    :param not_begun: where it fails with this on stderr, it is run once more.
    """
    argv = [str(word) for word in command]
    call = partial(
        subprocess.run,
        argv,
        input=input,
        env=env,
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        errors="replace",
    )
    try:
        result: Result = call()
        if result.returncode and not_begun and not_begun in result.stderr:
            say(f"once more, since it was not begun: {brief(argv)}")
            result = call()
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout:.0f} s: {brief(argv)}") from error
    if check and result.returncode:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-25:])
        raise LabError(f"exit code {result.returncode}: {brief(argv)}\n{tail}")
    return result


def brief(argv: Sequence[str]) -> str:
    """A command as one line of bearable length."""
    line = " ".join(argv).replace("\n", " ")
    return line if len(line) <= 200 else line[:200] + " …"


@contextmanager
def progress(what: str, every: float = 30) -> Iterator[None]:
    """Say that a long job began, that it still runs every `every` seconds, and how long it took."""
    begin = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(every):
            say(f"… {what}: {time.monotonic() - begin:.0f} s so far")

    say(f"{what} …")
    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    say(f"{what}: done in {time.monotonic() - begin:.0f} s")
