"""The state of a cluster for people and machines: what is there, what is wrong, what to do next."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from pyinfra.api import DeployError
from pyinfra.api.host import Host

from . import x509
from .checks import disks, members
from .facts.daemons import DaemonsFact
from .facts.docker import Daemons
from .facts.etcd import EtcdSubnets, Subnets
from .facts.files import Files, HostFiles
from .facts.kubernetes import ClusterNodes, Pods
from .observe import UnreadableError, observe
from .operation import Foreseen, foreseeing
from .phases import PHASES, verify
from .record import KUBELET_CLIENT, SUBNET_ENV
from .subnets import gateway, subnet_in
from .topology import Node, role_of

ROTATED_BEFORE = 0.09
"""The kubelet rotates its certificate when 10 to 30 % of the lifetime are left (pki.py)."""

FULL = "make room on that disk, then look again"
"""The next step where a disk is full: a run would be refused."""

OWN_PODS = "kube-system/"
"""Of these pods one that does not run is a problem of the cluster; the others are its users'."""

HEALTHY, DRIFTED, BROKEN, ABSENT, UNKNOWN = "healthy", "drifted", "broken", "absent", "unknown"


@dataclass(frozen=True)
class NodeReport:
    """One host's part of a status."""

    host: str
    node: str
    role: str
    address: str
    state: str
    """healthy, drifted (an apply would change something), broken (it does not work), absent (no node yet), unknown
    (it could not be asked)."""
    problems: list[str] = field(default_factory=list)
    drift: list[dict[str, Any]] = field(default_factory=list)
    """What an apply would change: operation and the lines of its plan."""
    kubernetes: str = ""
    """Version of its kubelet."""
    docker: str = ""
    bootstrap_daemon: str = ""
    main_daemon: str = ""
    etcd: str = ""
    """``answers`` or ``does not answer``; empty where it has none."""
    pods_not_running: list[str] = field(default_factory=list)
    """Of the whole cluster, told by the first master: ``NAMESPACE/NAME is REASON``."""
    subnet: dict[str, str] = field(default_factory=dict)
    """record, lease and docker0, which must agree."""
    certificate_days: int | None = None
    """Days until the first certificate ends."""
    next_step: str = ""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def _ends(found: Files) -> dict[str, dt.datetime]:
    pems = {path: found.content(path) for path in found.files if path.endswith(".crt")}
    pems[KUBELET_CLIENT] = found.kubelet_client
    return {path: end for path, pem in sorted(pems.items()) if (end := x509.end_of(pem))}


def _certificate_problems(found: Files) -> list[str]:
    """What no longer works; what an apply will issue anew in time is drift, no problem."""
    now = dt.datetime.now(dt.UTC)
    problems = [f"{path} ended on {end:%Y-%m-%d %H:%M} UTC" for path, end in _ends(found).items() if end < now]
    if not x509.has_ended(found.kubelet_client) and x509.part_left(found.kubelet_client) < ROTATED_BEFORE:
        end = x509.end_of(found.kubelet_client)
        problems.append(
            f"the kubelet does not rotate its client certificate, which ends on {end:%Y-%m-%d %H:%M} UTC: look with "
            "docker logs kubelet, and on the master with kubectl get csr"
        )
    return problems


def _daemon(daemons: Daemons, daemon: str) -> str:
    state = daemons.of(daemon)
    if not state.active:
        return "not running"
    if state.forgotten:
        return f"lost {', '.join(state.forgotten)} when it started on a full disk; an apply restarts it"
    stopped = sorted(name for name, c in state.containers.items() if not c.running)
    return f"{', '.join(stopped)} not running" if stopped else "running"


def _drift(node: Node) -> list[Foreseen]:
    with foreseeing() as found:
        for phase in PHASES:
            if phase is not verify:  # checking is no change
                phase.apply(node)
    return [operation for operation in found if operation.will_change]


def _problems(node: Node, found: Files, daemons: Daemons, known: Subnets, subnet: dict[str, str]) -> list[str]:
    """What is wrong, causes before what follows from them."""
    problems = [*disks.full(node), *_certificate_problems(found)]
    for daemon in ("bootstrap", "main"):
        state = _daemon(daemons, daemon)
        if state != "running":
            problems.append(f"{daemon} daemon: {state}")
    if not known.answers:
        problems.append(f"etcd on {node.first_master.name} does not answer")
    elif len(set(subnet.values())) > 1:
        problems.append("flannel's lease, the record and docker0 do not agree: " + _pairs(subnet))
    problems += _node_problems(node)
    return [*problems, *(f"pod {pod}" for pod in _pods(node) if pod.startswith(OWN_PODS))]


def _pods(node: Node) -> list[str]:
    return list(observe(Pods, node.host) or ()) if node.is_first_master else []


def _node_problems(node: Node) -> list[str]:
    known = observe(ClusterNodes, node.first_master)
    if known is None:
        return ["the API does not answer"]
    if node.name not in known:
        return ["the API knows no such node"]
    have = known[node.name]
    problems = [] if have.ready else ["the node is not Ready"]
    return [*problems, *(f"the node has {pressure}: the kubelet evicts its pods" for pressure in have.pressures)]


def _version(node: Node) -> str:
    """Of its kubelet, as the API knows it; else what the last run was to bring."""
    known = (observe(ClusterNodes, node.first_master) or {}).get(node.name)
    return known.version if known and known.version else str(node.found.record.get("kubernetes", ""))


def _pairs(subnet: dict[str, str]) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in subnet.items())


def refused(host: Host, why: DeployError) -> NodeReport:
    """What there is to say of a host that is no node as its settings have it, or that could not be asked."""
    step = "" if isinstance(why, UnreadableError) else "change that, then look again"
    problem = str(why).removeprefix(f"{host.name}: ")
    return NodeReport(host.name, host.name, role_of(host), "", BROKEN, [problem], next_step=step)


def silent(host: Host) -> NodeReport:
    """What there is to say of a host that could not be asked; pyinfra has said why."""
    problem = "it could not be asked; pyinfra says why on standard error"
    step = f"see whether it runs, and whether this works: ssh {host.data.get('ssh_hostname') or host.name} true"
    return NodeReport(host.name, host.name, role_of(host), "", UNKNOWN, [problem], next_step=step)


def report(node: Node) -> NodeReport:
    """What there is to say of a node; it changes nothing."""
    base = partial(NodeReport, host=node.host.name, node=node.name, role=node.role, address=node.address)
    try:
        found, daemons = observe(HostFiles, node.host), observe(DaemonsFact, node.host)
        known = observe(EtcdSubnets, node.first_master)
    except UnreadableError as error:
        return base(state=BROKEN, problems=[str(error)])
    if not node.found.record:
        problem, step = _absent(node)
        return base(state=ABSENT, docker=node.found.docker_version, problems=problem, next_step=step)
    mine = subnet_in(found.content(SUBNET_ENV))
    lease = known.leases.get(node.address)
    subnet = {
        "record": gateway(mine) if mine else "",
        "lease": gateway(lease) if lease and lease.endswith("/24") else lease or "",
        "docker0": daemons.docker0,
    }
    problems = _problems(node, found, daemons, known, subnet)
    drift: list[Foreseen] = []
    try:
        drift = _drift(node)
    except DeployError as error:
        sentence = str(error).removeprefix(f"{node.host.name}: ")
        problems += [sentence] if sentence not in problems else []
    ends = _ends(found).values()
    return base(
        state=BROKEN if problems else DRIFTED if drift else HEALTHY,
        problems=problems,
        drift=[{"operation": d.name, "plan": list(d.lines)} for d in drift],
        kubernetes=_version(node),
        docker=node.found.docker_version,
        bootstrap_daemon=_daemon(daemons, "bootstrap"),
        main_daemon=_daemon(daemons, "main"),
        etcd=("answers" if known.answers else "does not answer") if node.is_first_master else "",
        pods_not_running=_pods(node),
        subnet=subnet,
        certificate_days=(min(ends) - dt.datetime.now(dt.UTC)).days if ends else None,
        next_step=FULL if any(disks.full(node)) else _next(problems, drift),
    )


def _absent(node: Node) -> tuple[list[str], str]:
    """What is to be said of a host that never was a node, or is a new machine; and the next step."""
    if names := members.orphans(node):
        return [
            f"the cluster of {', '.join(names)} has no master here: was it replaced by a new machine?"
        ], members.RESTORE
    if sentence := members.name_is_free(node) or members.takes_over(node):
        return [sentence], f"bring it up once that is as you want it: pyinfra INVENTORY deploys/{node.role}.py"
    return [], f"bring it up: pyinfra INVENTORY deploys/{node.role}.py"


def _next(problems: list[str], drift: list[Foreseen]) -> str:
    if drift:
        return "look at the plan, then apply it: pyinfra INVENTORY deploys/cluster.py --diff"
    return "collect what the hosts know: docker-multinode evidence INVENTORY" if problems else ""
