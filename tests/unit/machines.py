"""Machines that never were: what a healthy Debian 13 host says of itself, with single things changed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from deploys.facts.found import Found
from deploys.facts.platform import Platform

from .samples import edited, lines

FACT_MARK = "uname -m"
"""A word of the platform fact's script: what a fake host answers to."""
FRESH = {
    'echo "== modules"': "kernel-fresh",
    "one docker-bootstrap": "daemons-fresh",
    'echo "== kubelet-client"': "files-fresh",
    'echo "== chains"': "leftovers-fresh",
}
"""Words of the other facts' scripts → what a fresh host answers to them."""
NO_API = ["== rc 1", "== diff", "Error response from daemon: No such container: kubelet", "== labelled", "== end"]
EMPTY = {
    'echo "== keys"': ["== keys", "== end"],
    'echo "== authentication"': ["== users", "== authentication", "== end"],
    'echo "== nodes"': ["== nodes", "== end"],
    'echo "== pods"': ["== pods", "== end"],
    'echo "== members"': ["== there", "== members", "== about", "", "== status", "", "== others", "== end"],
}
"""The same for facts to which a host without a cluster answers no more than headings."""


def _section(text: list[str], name: str) -> list[str]:
    start = text.index(f"== {name}") + 1
    end = next((i for i in range(start, len(text)) if text[i].startswith("== ")), len(text))
    return text[start:end]


def _changed(sample: str, section: str, changes: Mapping[str, Any]) -> str:
    value = json.loads(_section(lines(sample), section)[0])
    value.update(changes)
    return json.dumps(value)


def answer(
    name: str = "h1",
    address: str = "10.0.0.11",
    *,
    sample: str = "platform-fresh-docker26",
    daemon_json: str | Mapping[str, Any] | None = None,
    docker: str | None = None,
    docker_arch: str | None = None,
    api: str | None = None,
    record: Mapping[str, Any] | None = None,
    without_tools: tuple[str, ...] = (),
    **sections: str | None,
) -> list[str]:
    """What a host answers to the platform fact: a healthy one's words, but for what is given here."""
    octet = address.rsplit(".", 1)[0]
    mine: dict[str, str | None] = {
        "name": name,
        "time": str(int(time.time())),
        "addresses": f"1: lo    inet 127.0.0.1/8 scope host lo\n"
        "2: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\n"
        f"24: eth0    inet {address}/24 brd {octet}.255 scope global eth0",
        "routes": f"default via {octet}.1 dev eth0\n{octet}.0/24 dev eth0 proto kernel scope link src {address}\n"
        "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown",
        "daemon__json": "",
    }
    if daemon_json is not None:
        text = daemon_json if isinstance(daemon_json, str) else json.dumps(daemon_json)
        mine["daemon__json"] = base64.b64encode(text.encode()).decode()
    if record is not None:
        mine["record"] = base64.b64encode(json.dumps(record).encode()).decode()
    changes = {k: v for k, v in (("Version", docker), ("Arch", docker_arch), ("ApiVersion", api)) if v is not None}
    if changes:
        mine["docker_version"] = _changed(sample, "docker-version", changes)
    if without_tools:
        mine["tools"] = "\n".join(t for t in _section(lines(sample), "tools") if t not in without_tools)
    return edited(sample, {**mine, **sections})


def found(*args: Any, **kwargs: Any) -> Found:
    """The same, as the fact hands it on."""
    return Platform().process(answer(*args, **kwargs))


def fake(words: object, others: Iterable[Mapping[str, Any]] = (), **data: object) -> dict[str, object]:
    """Data of a host behind pyinfra's @fake connector that gives this answer; everything else succeeds.

    :param others: running containers of somebody else's in the main Docker.
    """
    running = {"docker containers": "\n".join(f"other {json.dumps(other)}" for other in others)}
    return {
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {
            FACT_MARK: words,
            **{mark: edited(s, running) if s == "daemons-fresh" else lines(s) for mark, s in FRESH.items()},
            **EMPTY,
            "| base64 -d | ": NO_API,
        },
        **data,
    }
