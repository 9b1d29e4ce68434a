"""What etcd on the first master says of flannel: network, reservations, leases. One execution."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from pyinfra.api import FactBase, FactProcessError, StringCommand
from typing_extensions import override

from ..record import BOOTSTRAP_SOCKET, PKI

FLANNEL_PREFIX = "/coreos.com/network"
RESERVATIONS = "/docker-multinode/subnets"
"""``<RESERVATIONS>/<node>`` → the node's subnet, for life. A key of our own: flannel 0.28 turns each
subnet key of its own prefix into a lease of 24 hours when it starts (pkg/subnet/etcd/local_manager.go)."""

TLS = f"--cacert {PKI}/etcd/ca.crt --cert {PKI}/etcd/healthcheck-client.crt --key {PKI}/etcd/healthcheck-client.key"
ETCDCTL = (
    f"timeout 20 docker -H unix://{BOOTSTRAP_SOCKET} exec -i etcd etcdctl --command-timeout=10s "
    f"--endpoints https://127.0.0.1:2379 {TLS}"
)


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


class EtcdSubnets(FactBase[Subnets]):
    """flannel's network and subnets, from the first master's etcd."""

    @override
    def command(self) -> StringCommand:
        ask = f"{ETCDCTL} get --prefix -w json"
        return StringCommand(
            f"if [ -S {BOOTSTRAP_SOCKET} ]; then {{ {ask} {FLANNEL_PREFIX}/ && {ask} {RESERVATIONS}/ ; }} "
            "2>/dev/null || true; fi"
        )

    @override
    def process(self, output: list[str]) -> Subnets:
        answers = [line for line in output if line.strip()]
        if len(answers) != 2:
            return Subnets(False, "")
        try:
            pairs = {
                base64.b64decode(kv["key"]).decode(): base64.b64decode(kv.get("value", "")).decode()
                for line in answers
                for kv in json.loads(line).get("kvs") or []
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FactProcessError(f"etcdctl gave an answer that is not its JSON: {error}") from error
        leases = {}
        for key, value in pairs.items():
            if key.startswith(FLANNEL_PREFIX + "/subnets/"):
                subnet = key.rsplit("/", 1)[1].split("&")[0].replace("-", "/")
                try:
                    leases[str(json.loads(value)["PublicIP"])] = subnet
                except (ValueError, KeyError, TypeError, RecursionError):
                    leases[f"unreadable {key}"] = subnet
        reservations = {k.rsplit("/", 1)[1]: v for k, v in pairs.items() if k.startswith(RESERVATIONS + "/")}
        return Subnets(True, pairs.get(FLANNEL_PREFIX + "/config", ""), reservations, leases)

    @staticmethod
    @override
    def default() -> Subnets:  # no output at all: nothing is known
        return EtcdSubnets().process([])
