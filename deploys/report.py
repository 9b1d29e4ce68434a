"""The state of a cluster for people and machines: what is there, what is wrong, what to do next."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from cryptography import x509 as x509_lib
from pyinfra.api import DeployError

from .facts.daemons import Daemons, DaemonsFact
from .facts.etcd import EtcdSubnets
from .facts.files import Files, HostFiles
from .facts.kubernetes import ClusterNodes, Pods
from .observe import Foreseen, UnreadableError, foreseeing, observe
from .operations.flannel import recorded
from .phases import PHASES, verify
from .record import SUBNET_ENV
from .subnets import gateway
from .topology import Node

HEALTHY, DRIFTED, BROKEN, ABSENT = "healthy", "drifted", "broken", "absent"


@dataclass(frozen=True)
class NodeReport:
    """One host's part of a status."""

    host: str
    node: str
    role: str
    address: str
    state: str
    """healthy, drifted (an apply would change something), broken (it does not work), absent (no node yet)."""
    problems: list[str] = field(default_factory=list)
    drift: list[dict[str, Any]] = field(default_factory=list)
    """What an apply would change: operation and the lines of its plan."""
    kubernetes: str = ""
    docker: str = ""
    bootstrap_daemon: str = ""
    main_daemon: str = ""
    subnet: dict[str, str] = field(default_factory=dict)
    """record, lease and docker0, which must agree."""
    certificate_days: int | None = None
    """Days until the first certificate ends."""
    next_step: str = ""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def _days_left(found: Files) -> int | None:
    pems = [found.content(path) for path in found.files if path.endswith(".crt")]
    ends = []
    for pem in (*pems, found.kubelet_client):
        try:
            ends.append(x509_lib.load_pem_x509_certificate(pem.encode()).not_valid_after_utc)
        except ValueError:
            continue
    return (min(ends) - dt.datetime.now(dt.UTC)).days if ends else None


def _daemon(daemons: Daemons, daemon: str) -> str:
    state = daemons.of(daemon)
    if not state.active:
        return "not running"
    stopped = sorted(name for name, c in state.containers.items() if not c.running)
    return f"{', '.join(stopped)} not running" if stopped else "running"


def _drift(node: Node) -> list[Foreseen]:
    with foreseeing() as found:
        for phase in PHASES:
            if phase is not verify:  # checking is no change
                phase.apply(node)
    return [operation for operation in found if operation.will_change]


def _problems(node: Node, daemons: Daemons, subnet: dict[str, str]) -> list[str]:
    problems = []
    for daemon in ("bootstrap", "main"):
        state = _daemon(daemons, daemon)
        if state != "running":
            problems.append(f"{daemon} daemon: {state}")
    if len(set(subnet.values())) > 1:
        problems.append("flannel's lease, the record and docker0 do not agree: " + _pairs(subnet))
    known = observe(ClusterNodes, node.first_master)
    if known is None:
        problems.append("the API does not answer")
    elif node.name not in known:
        problems.append("the API knows no such node")
    elif not known[node.name].ready:
        problems.append("the node is not Ready")
    if node.is_first_master:
        pods = observe(Pods, node.first_master) or ()
        problems += [f"pod {pod}" for pod in pods if pod.startswith("kube-system/")]
    return problems


def _pairs(subnet: dict[str, str]) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in subnet.items())


def report(node: Node) -> NodeReport:
    """What there is to say of a node; it changes nothing."""
    base = partial(NodeReport, host=node.host.name, node=node.name, role=node.role, address=node.address)
    try:
        found, daemons = observe(HostFiles, node.host), observe(DaemonsFact, node.host)
        known = observe(EtcdSubnets, node.first_master)
    except UnreadableError as error:
        return base(state=BROKEN, problems=[str(error)])
    if not node.found.record:
        run = f"pyinfra INVENTORY deploys/{node.role}.py"
        return base(state=ABSENT, docker=node.found.docker_version, next_step=f"bring it up: {run}")
    mine = recorded(found.content(SUBNET_ENV))
    lease = known.leases.get(node.address)
    subnet = {
        "record": gateway(mine) if mine else "",
        "lease": gateway(lease) if lease else "",
        "docker0": daemons.docker0,
    }
    problems = _problems(node, daemons, subnet)
    drift: list[Foreseen] = []
    try:
        drift = _drift(node)
    except DeployError as error:
        problems.append(str(error))
    days = _days_left(found)
    if days is not None and days < 0:
        problems.append("a certificate has ended")
    return base(
        state=BROKEN if problems else DRIFTED if drift else HEALTHY,
        problems=problems,
        drift=[{"operation": d.name, "plan": list(d.lines)} for d in drift],
        kubernetes=str(node.found.record.get("kubernetes", "")),
        docker=node.found.docker_version,
        bootstrap_daemon=_daemon(daemons, "bootstrap"),
        main_daemon=_daemon(daemons, "main"),
        subnet=subnet,
        certificate_days=days,
        next_step=_next(problems, drift),
    )


def _next(problems: list[str], drift: list[Foreseen]) -> str:
    if drift:
        return "look at the plan, then apply it: pyinfra INVENTORY deploys/cluster.py --diff"
    return "look further: docs/troubleshooting.md" if problems else ""


def strangers(nodes: list[Node]) -> list[str]:
    """Nodes that the API knows and the inventory does not: they left it, or were renamed."""
    known = observe(ClusterNodes, nodes[0].first_master) or {}
    return sorted(set(known) - {node.name for node in nodes})
