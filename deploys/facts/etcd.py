"""What etcd on the first master says of flannel: network, reservations, leases. One execution."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from pyinfra.api import FactProcessError
from typing_extensions import override

from ..record import BOOTSTRAP_SOCKET, ETCD_CONTAINER, PKI
from . import inside
from .sections import END, Bundle, Sections, shown

FLANNEL_PREFIX = "/coreos.com/network"
LEASES = f"{FLANNEL_PREFIX}/subnets"
"""``<LEASES>/10.1.3.0-24`` → the address of the node whose flannel has this subnet, and more, as JSON."""
RESERVATIONS = "/docker-multinode/subnets"
"""``<RESERVATIONS>/10.1.3.0-24`` → the node that has this subnet, for life: of one key there is one, so two
nodes can't reserve one subnet. A key of our own: flannel 0.28 turns each subnet key of its own prefix into a
lease of 24 hours when it starts (pkg/subnet/etcd/local_manager.go)."""

TLS = f"--cacert {PKI}/etcd/ca.crt --cert {PKI}/etcd/healthcheck-client.crt --key {PKI}/etcd/healthcheck-client.key"
_COMMAND = f"etcdctl --command-timeout=10s --endpoints https://127.0.0.1:2379 {TLS}"
ETCDCTL = f"timeout 20 docker -H unix://{BOOTSTRAP_SOCKET} exec -i {ETCD_CONTAINER} {_COMMAND}"
"""As operations run it."""
INSIDE = inside.within(ETCD_CONTAINER, "bootstrap", _COMMAND, 20)
"""As facts run it: ``inside get /key``."""


SEGMENT_MIB = 64
"""Size of the next segment that etcd begins (wal.SegmentSizeBytes)."""


def subnet_key(prefix: str, subnet: str) -> str:
    """The key of a subnet, as flannel writes it: <prefix>/10.1.3.0-24."""
    return f"{prefix}/{subnet.replace('/', '-')}"


def _vtep(lease: dict[str, Any]) -> str:
    """Hardware address in a lease, as flannel writes it (pkg/backend/vxlan/vxlan.go); empty with another backend."""
    data = lease.get("BackendData")
    return str(data.get("VtepMAC") or "").lower() if isinstance(data, dict) else ""


def _subnet(key: str) -> str:
    """The subnet of a key; flannel's may have an IPv6 one behind it. Empty where it names none."""
    found = re.fullmatch(r".*/([0-9.]+)-([0-9]+)(&.*)?", key)
    try:
        return str(ipaddress.IPv4Network(f"{found[1]}/{found[2]}")) if found else ""
    except ValueError:
        return ""


@dataclass(frozen=True)
class Subnets:
    """flannel's network and who has which subnet."""

    answers: bool
    config: str
    """flannel's network configuration as JSON; empty where there is none."""
    reservations: dict[str, str] = field(default_factory=dict)
    """Node → subnet like 10.1.3.0/24, for life."""
    leases: dict[str, str] = field(default_factory=dict)
    """Public address → subnet, as flannel sees it now."""
    hardware: dict[str, str] = field(default_factory=dict)
    """Public address → hardware address of the node's vxlan link, as other nodes are told."""

    @property
    def network(self) -> str:
        """The pod network, like 10.1.0.0/16; empty where it is not known."""
        return self._configured("Network")

    @property
    def backend(self) -> str:
        """flannel's backend, like vxlan; empty where it is not known."""
        return self._configured("Backend", "Type")

    def _configured(self, *keys: str) -> str:
        try:
            return str(reduce(lambda found, key: found[key], keys, json.loads(self.config)))
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""


# All keys from flannel's to the last reservation (0 comes after /): in between there is one of ours, and two questions
# would start etcdctl twice.
_SCRIPT = f"""
{INSIDE}
echo "== keys"; inside get -w json {FLANNEL_PREFIX}/ {RESERVATIONS}0 2>/dev/null
{END}
"""


def _pairs(sections: Sections) -> dict[str, str]:
    try:
        return {
            base64.b64decode(kv["key"]).decode(): base64.b64decode(kv.get("value", "")).decode()
            for kv in json.loads("".join(sections["keys"])).get("kvs") or []
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FactProcessError(f"etcdctl gave an answer that is not its JSON: {error}") from error


class EtcdSubnets(Bundle[Subnets]):
    """flannel's network and subnets, from the first master's etcd."""

    script = _SCRIPT

    @override
    def read(self, sections: Sections) -> Subnets:
        if not "".join(sections["keys"]).strip():
            return Subnets(False, "")
        pairs = _pairs(sections)
        leases, hardware = {}, {}
        for key, value in pairs.items():
            if key.startswith(LEASES + "/") and (subnet := _subnet(key)):
                try:
                    lease = json.loads(value)
                    leases[str(lease["PublicIP"])] = subnet
                    if told := _vtep(lease):
                        hardware[str(lease["PublicIP"])] = told
                except (ValueError, KeyError, TypeError, RecursionError):
                    leases[f"unreadable {key}"] = subnet
        reservations = {}
        for key, node in pairs.items():
            if key.startswith(RESERVATIONS + "/"):
                if not (subnet := _subnet(key)):
                    raise FactProcessError(f"etcd's key {shown(key)} names no subnet")
                reservations[node] = subnet
        return Subnets(True, pairs.get(FLANNEL_PREFIX + "/config", ""), reservations, leases, hardware)
