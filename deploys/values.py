"""Parsers of setting values: what came from data or the environment → a checked Python value.

Each takes the raw value and returns the value, or raises ValueError with the half sentence that
follows "setting NAME " and says what to write instead.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Parser = Callable[[Any], Any]

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# distribution's grammar of a reference (reference/regexp.go)
_DOMAIN = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*(:[0-9]{1,5})?"
_PART = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(rf"{_DOMAIN}(/{_PART})*")
_IMAGE = re.compile(rf"({_DOMAIN}/)?{_PART}(/{_PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_URL = re.compile(r"https?://[A-Za-z0-9\[][A-Za-z0-9.:/?=~+,%_\[\]-]*")
_NUMBER = r"(0|[1-9][0-9]{0,2})"
_USER = re.compile(r"(['\"](?:[A-Za-z][A-Za-z0-9+.-]*://)?).*@(?!sha256:)")
_FLAG = re.compile(r"[a-z][a-z0-9-]*")
_REFERENCE = 255
"""Characters of an image's name."""
_FLAGS, _QUOTES = 4000, 100
"""Characters of all flags of a component, and quotes in them: each is several characters in the command that
starts it, which may have 128 KiB."""
_DIRECTORY = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9_@+.-]+)+")
_KUBELETS = ("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
             "/var/lib/cri-dockerd", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
             "/var/run")  # fmt: skip
"""What the kubelet's container has of its own, or of the host already (phases/node.py)."""
_LONGEST = 2000
"""Characters of a URL, a path or a list: what is longer is no such thing, and would not fit into a command."""


def shown(value: object) -> str:
    """A value in a sentence: on one line, not longer than one likes to read, and without the name and password that
    may stand before a host."""
    try:
        said = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # a number of thousands of digits, a list nested without end
        said = f"a {type(value).__name__} that can't be written"
    if len(said) > _LONGEST:  # looking for a password in it would take seconds, and what is cut off may be its end
        return f"a {type(value).__name__} of {len(said)} characters"
    said = _USER.sub(r"\1…@", said)
    return said if len(said) <= 120 else f"{said[:100]}… ({len(said)} characters)"


def text(value: Any) -> str:
    """A non-empty line of text."""
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {shown(value)}; write it in quotes")
    if not value or value != value.strip() or not value.isprintable() or len(value) > _LONGEST:
        raise ValueError(
            f"must be one line of text without spaces around it, of at most {_LONGEST} characters, not {shown(value)}"
        )
    return value


def kubernetes_version(value: Any) -> str:
    """``v1.37.2`` or ``1.37.2`` → ``v1.37.2``."""
    if isinstance(value, int | float):
        raise ValueError(f"arrived as the number {shown(value)}, which loses digits; write a leading v, as in v1.37.2")
    if not isinstance(value, str) or not re.fullmatch(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}", value):
        raise ValueError(f"must be a full version like v1.37.2, not {shown(value)}")
    return "v" + value.removeprefix("v")


def tag(value: Any) -> str:
    """An image tag."""
    if isinstance(value, int | float):
        raise ValueError(f"arrived as the number {shown(value)}; write it as text, as in v0.28.10")
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError(f"must be an image tag like v0.28.10, not {shown(value)}")
    return value


def boolean(value: Any) -> bool:
    """true/false, also as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(f"must be true or false, not {shown(value)}")


def _whole(value: Any, unit: str, most: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 9 else 0
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"must be a whole number of {unit} from 1 to {most}, not {shown(value)}")
    return value


def seconds(value: Any) -> int:
    """A positive whole number of seconds, at most a day."""
    return _whole(value, "seconds", 86400)


def days(value: Any) -> int:
    """A whole number of days, from 1 to 3650."""
    return _whole(value, "days", 3650)


def ip_address(value: Any) -> str:
    """An IPv4 address that a host can have."""
    try:
        address = ipaddress.IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"must be an IPv4 address like 192.168.1.10, not {shown(value)}") from None
    if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise ValueError(f"is {value}, which is no address that other hosts can reach")
    return str(address)


def network(value: Any) -> str:
    """An IPv4 network in CIDR notation, without host bits."""
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        found = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        raise ValueError(f"must be an IPv4 network like 10.1.0.0/16, not {shown(value)}") from None
    if str(found) != value:
        raise ValueError(f"is {value}, whose host part is not zero; write {found}")
    if not any(found.subnet_of(ipaddress.IPv4Network(private)) for private in _PRIVATE):
        raise ValueError(f"is {value}, which is not part of {', '.join(_PRIVATE)}; take one like 10.1.0.0/16")
    return str(found)


def pod_network(value: Any) -> str:
    """A private network, /8 to /22; flannel leaves its first /24 free."""
    found = ipaddress.IPv4Network(network(value))
    if not 8 <= found.prefixlen <= 22:
        raise ValueError(f"is {value}; each node takes a /24 of it, so write a /8 to a /22, like 10.1.0.0/16")
    return str(found)


def service_network(value: Any) -> str:
    """A private network, /12 (the apiserver's limit is 20 host bits) to /28."""
    found = ipaddress.IPv4Network(network(value))
    if not 12 <= found.prefixlen <= 28:
        raise ValueError(f"is {value}; the apiserver takes a /12 to a /28, like 10.96.0.0/12")
    return str(found)


def dns_domain(value: Any) -> str:
    """A lower-case DNS name; its last label is no number."""
    if not isinstance(value, str) or not _DNS_NAME.fullmatch(value) or len(value) > 200:
        raise ValueError(f"must be a lower-case DNS name like cluster.local, not {shown(value)}")
    if value.rsplit(".", 1)[-1].isdigit():
        raise ValueError(f"must be a lower-case DNS name like cluster.local, not the address {value}")
    return value


def name_or_address(value: Any) -> str:
    """A DNS name or an IPv4 address."""
    if not isinstance(value, str) or not _DNS_NAME.fullmatch(value) or len(value) > 200:
        raise ValueError(f"must be a DNS name or an address like api.lan, not {shown(value)}")
    return value


def node_name(value: Any) -> str:
    """What Kubernetes takes as a node's name (an RFC 1123 subdomain) and a certificate's subject holds.

    A common name has at most 64 characters (X.520), of which ``system:node:`` takes 12.
    """
    if not isinstance(value, str) or not _DNS_NAME.fullmatch(value) or len(value) > 52:
        raise ValueError(
            f"must be a node name of at most 52 lower-case letters, digits, '-' and '.', not {shown(value)}"
        )
    return value


def interface(value: Any) -> str:
    """The name of a network interface."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.@:-]{1,15}", value):
        raise ValueError(f"must be the name of a network interface like eth0, not {shown(value)}")
    return value


def registry(value: Any) -> str:
    """A registry's host, with a port and a path where it has them; no scheme."""
    if isinstance(value, str) and "://" in value:
        raise ValueError(f"is {shown(value)}; write it without the scheme, as in registry.lan:5000")
    name = value.rstrip("/") if isinstance(value, str) and len(value) <= _REFERENCE else ""
    domain = name.split("/", 1)[0]
    port = domain.partition(":")[2]
    if not _REGISTRY.fullmatch(name) or (port and int(port) > 65535):
        raise ValueError(f"must be a registry like registry.lan:5000, not {shown(value)}")
    if "." not in domain and not port and domain != "localhost":
        raise ValueError(f"is {shown(value)}, which Docker takes for a name at Docker Hub; write it with its port")
    return name


def image(value: Any) -> str:
    """An image reference with a tag or a digest."""
    if not isinstance(value, str) or len(value) > _REFERENCE or not _IMAGE.fullmatch(value):
        raise ValueError(f"must be an image like registry.lan:5000/node:v1.37.2, not {shown(value)}")
    if "@" not in value and ":" not in value.rsplit("/", 1)[-1]:
        raise ValueError(f"is {shown(value)}; name a tag or a digest, a bare name may change under you")
    return value


def url(value: Any) -> str:
    """An http or https URL without credentials."""
    if not isinstance(value, str) or not _URL.fullmatch(value) or len(value) > _LONGEST:
        raise ValueError(f"must be a URL like http://proxy.lan:3142, without a password in it, not {shown(value)}")
    return value.rstrip("/")


def no_proxy(value: Any) -> str:
    """A comma-separated list of hosts, domains and networks."""
    if (
        not isinstance(value, str)
        or not re.fullmatch(r"[A-Za-z0-9.*:/_-]+(,[A-Za-z0-9.*:/_-]+)*", value)
        or len(value) > _LONGEST
    ):
        raise ValueError(f"must be a comma-separated list like 10.0.0.0/8,.lan, not {shown(value)}")
    return value


def names(value: Any) -> tuple[str, ...]:
    """A list of DNS names or addresses; as text, comma-separated."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"must be a list of names or addresses, not {shown(value)}")
    for item in items:
        if not isinstance(item, str) or not _DNS_NAME.fullmatch(item) or len(item) > 253:
            raise ValueError(f"must be a list of DNS names or addresses; {shown(item)} is neither")
    return _not_too_long(items)


def _items(value: Any, what: str) -> Sequence[Any]:
    """What a list has, or a text between its commas."""
    items = [v for v in value.split(",") if v] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"must be a list {what}, not {shown(value)}")
    return items


def _not_too_long(items: Sequence[str]) -> tuple[str, ...]:
    if len(",".join(items)) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters in all; shorten it")
    return tuple(items)


def path(value: Any) -> str:
    """A path; `~` is your home directory."""
    found = text(value)
    try:
        place = Path(found).expanduser()
    except RuntimeError:
        raise ValueError(f"is {shown(found)}, whose home directory is not known; write the path in full") from None
    # a file system takes 255, of which the temporary name beside the file needs some
    if any(len(part.encode()) > 200 for part in place.parts):
        raise ValueError(f"must be a path with names of at most 200 bytes, not {shown(found)}")
    return found


def directories(value: Any) -> tuple[str, ...]:
    """A list of absolute paths, besides those that the kubelet's container has itself; as text, comma-separated."""
    items = _items(value, "of directories like /srv")
    for item in items:
        if not isinstance(item, str) or len(item) > _LONGEST or not _DIRECTORY.fullmatch(item):
            raise ValueError(
                "must be a list of absolute paths like /srv, of letters, digits and _ @ + . - and without a slash at "
                f"the end; {shown(item)} is none"
            )
        if has := next((own for own in _KUBELETS if _overlap(own, item)), None):
            raise ValueError(f"names {shown(item)}, but the kubelet's container has its own {has}; leave it out")
    if len(set(items)) != len(items):
        raise ValueError(f"names something twice: {shown(', '.join(items))}")
    return _not_too_long(items)


def _overlap(one: str, other: str) -> bool:
    """Whether they are one path, or one lies in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def one_of(*choices: str) -> Parser:
    """One of these words."""

    def parse(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"must be one of {', '.join(choices)}, not {shown(value)}")
        return value

    return parse


def some_of(*choices: str) -> Parser:
    """A list of these words, each at most once; as text, comma-separated; empty for none."""

    def parse(value: Any) -> tuple[str, ...]:
        items = _items(value, f"out of {', '.join(choices)}")
        for item in items:
            if item not in choices:
                raise ValueError(f"knows {', '.join(choices)}, not {shown(item)}")
        if len(set(items)) != len(items):
            raise ValueError(f"names something twice: {', '.join(items)}")
        return tuple(items)

    return parse


def extra_args(value: Any) -> Mapping[str, str]:
    """Flags of a component: a mapping of the flag's name without dashes to its value; as text, JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f'must be a mapping like {{"v": "4"}}, not {shown(value)}') from None
    if not isinstance(value, Mapping):
        raise ValueError(f'must be a mapping like {{"v": "4"}}, not {shown(value)}')
    result: dict[str, str] = {}
    for flag, setting in value.items():
        if not isinstance(flag, str) or not _FLAG.fullmatch(flag):
            raise ValueError(f"names the flag {shown(flag)}; write it without dashes in front, as in v")
        if isinstance(setting, bool):
            setting = str(setting).lower()
        elif isinstance(setting, int) and abs(setting) < 1 << 64:
            setting = str(setting)
        if not isinstance(setting, str) or not setting.isprintable():
            raise ValueError(f"gives {shown(flag)} the value {shown(setting)}; write one line of text")
        result[flag] = setting
    words = " ".join(f"{flag}={setting}" for flag, setting in result.items())
    if len(words) > _FLAGS or words.count("'") > _QUOTES:
        raise ValueError(f"is longer than {_FLAGS} characters in all, or has more than {_QUOTES} quotes; shorten it")
    return dict(sorted(result.items()))
