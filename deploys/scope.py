"""A context variable that has a value within a block, and its old one after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def bound(variable: ContextVar[Any], value: T) -> Iterator[T]:
    """Give it the value, which the block gets too."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)
