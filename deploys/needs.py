"""Imported first: says which pyinfra is needed, where an older one would end in an ImportError."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version
from pyinfra.api import DeployError

OLDEST = "3.10"


def check(found: str) -> None:
    """Refuse a pyinfra that this can't run with.

    :raises DeployError: it is one.
    """
    if Version(found) < Version(OLDEST):
        raise DeployError(f"this is pyinfra {found}; {OLDEST} or newer is needed: pip install 'pyinfra>={OLDEST},<4'")


check(version("pyinfra"))
