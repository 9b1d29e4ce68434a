"""Text from templates/: one Jinja environment, in which an undefined variable is an error; and digests of text."""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def _in_unit(value: str) -> str:
    """A value in a systemd unit, where % begins a specifier."""
    return value.replace("%", "%%")


@cache
def _environment() -> Environment:
    here = Path(__file__).resolve().parent
    # installed: docker_multinode/templates; in a checkout: templates/ beside deploys/
    places = [here / "templates", here.parent / "templates"]
    env = Environment(
        loader=FileSystemLoader(places),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML, units and Dockerfiles, not HTML
    )
    # not as \u…: YAML has no pairs of surrogates
    env.filters["json"] = partial(json.dumps, ensure_ascii=False)
    env.filters["unit"] = _in_unit
    return env


def render(template: str, **values: object) -> str:
    """Render ``templates/<template>`` with these values.

    :raises jinja2.UndefinedError: the template asks for a value that was not given.
    """
    return _environment().get_template(template).render(**values)


def digest(text: str) -> str:
    """12 hexadecimal digits that tell a text from another one."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
