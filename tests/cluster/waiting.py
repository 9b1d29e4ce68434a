"""Waiting with a limit, and a sentence when it was in vain."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: str, seconds: float, probe: Callable[[], object], every: float = 0.5) -> float:
    """Ask until the answer is true; an AssertionError or a failed command of the probe is a no.

    :returns: the seconds that it took.
    :raises AssertionError: it never was, with the last reason.
    """
    begin = time.monotonic()
    while True:
        reason = "it said no"
        try:
            if probe():
                return time.monotonic() - begin
        except Exception as error:  # a host that is away fails in many ways
            reason = str(error)
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"waited {seconds:.0f} s for {what}, in vain: {reason}")
        time.sleep(every)
