"""Whether what a machine says of itself can be what it was asked: nothing is decided on what can't."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator

from ..record import NODE, SUBNET_ENV
from .sections import Sections, first, json_object, number, variables

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_LENGTH = r"(?:3[0-2]|[12]?[0-9])"
ADDRESS = re.compile(rf"\d+: (\S+)\s+inet ({_IPV4})(?: peer {_IPV4})?(?:/({_LENGTH}))?(?: .*)?")
"""A line of ``ip -4 -o addr``: interface, address, prefix length."""
_LINK = re.compile(r"\d+: \S+: <.*")
_KINDS = r"default|unicast|local|broadcast|multicast|throw|unreachable|prohibit|blackhole|nat|anycast|nexthop"
_ROUTE = re.compile(rf"\s*(?:{_KINDS}|{_IPV4}(?:/{_LENGTH})?) .*")
_COMMAND = re.compile(r"/[\w./+-]+")
_DIRECTORY = re.compile(r"/[^\s:\x00-\x1f]*")
_IPTABLES = re.compile(r"iptables v\d.*")


def _is_number(text: str) -> bool:
    return number(text) is not None


def record(text: str) -> bool:
    """Whether this is the text of a node's record."""
    found = json_object(text)
    if found is None:
        return False
    words = [found.get(key, "") for key in ("name", "role", "address", "kubernetes", "master")]
    return all(isinstance(word, str) and word.isprintable() and len(word) < 300 for word in words)


def subnet_env(lines: Iterable[str]) -> bool:
    """Whether this is the text of a node's subnet.env."""
    values = variables(lines)
    try:
        network, subnet = (ipaddress.IPv4Interface(values[f"FLANNEL_{n}"]).network for n in ("NETWORK", "SUBNET"))
    except (KeyError, ValueError):
        return False
    return subnet.prefixlen == 24 and subnet.subnet_of(network)


def _file(sections: Sections, name: str) -> str | None:
    text = "".join(sections[name])
    try:
        return base64.b64decode(text, validate=True).decode() if text else None
    except ValueError:
        return ""


def unreadable(sections: Sections) -> Iterator[str]:
    """Commands and files of the record whose text is not what it should be."""
    lines: tuple[tuple[str, str, Callable[[str], object]], ...] = (
        ("addresses", "ip addr", ADDRESS.fullmatch),
        ("links", "ip link", _LINK.fullmatch),
        ("routes", "ip route", _ROUTE.fullmatch),
    )
    one: tuple[tuple[str, str, Callable[[str], object]], ...] = (
        ("user", "id -u", _is_number),
        ("time", "date +%s", _is_number),
        ("memory", "/proc/meminfo", _is_number),
        ("iptables", "iptables --version", lambda text: not text or _IPTABLES.fullmatch(text)),
        ("docker-command", "command -v dockerd", lambda text: not text or _COMMAND.fullmatch(text)),
        ("docker-root", "dockerd's data-root", _DIRECTORY.fullmatch),
        ("resolv.conf", "readlink -f /etc/resolv.conf", lambda text: not text or _COMMAND.fullmatch(text)),
    )
    yield from (what for name, what, fits in one if not fits(first(sections, name)))
    yield from (what for name, what, fits in lines if not all(map(fits, filter(None, sections.get(name, [])))))
    node = _file(sections, "record")
    if node is not None and not record(node):
        yield NODE
    if any(sections["subnet.env"]) and not subnet_env(sections["subnet.env"]):
        yield SUBNET_ENV
