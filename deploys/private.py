"""Files on the control machine that only their owner can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def private_file(place: Path, replace: bool = False) -> Iterator[BinaryIO]:
    """A file to write into, with mode 0600 from its first moment; at its place, whole, when the block ended well.

    :param replace: put it over what is there.
    :raises OSError: it can't be written, or something is at that place.
    """
    exclusive = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    if not replace:
        os.close(os.open(place, exclusive, 0o600))  # keeps the place; not every file system has hard links
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, exclusive, 0o600), "wb") as file:
            yield file
        part.replace(place)
    except BaseException:
        part.unlink(missing_ok=True)
        if not replace:
            place.unlink(missing_ok=True)
        raise
