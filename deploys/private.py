"""Files on the control machine that only their owner can read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@contextmanager
def private_file(place: Path, replace: bool = False) -> Iterator[BinaryIO]:
    """A file to write into, with mode 0600 from its first moment; at its place, whole, when the block ended well.

    :param replace: put it over what is there.
    :raises OSError: it can't be written, or something is at that place.
    """
    if not replace and os.path.lexists(place):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, _NEW, 0o600), "wb") as file:
            yield file
        if replace:
            part.replace(place)
        else:
            _put(part, place)
    finally:
        part.unlink(missing_ok=True)


def _put(part: Path, place: Path) -> None:
    """Give a whole file its name, which nothing has."""
    try:
        os.link(part, place)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, as vfat
        os.close(os.open(place, _NEW, 0o600))
        part.replace(place)
