"""The main Docker on the node's subnet: docker0 is the pod network. A drop-in of constant text."""

from __future__ import annotations

import json
import re

from ..dockerd import LETS_ROUTED_IN, asked_for, bip, flags, program, without_us
from ..facts.daemons import DaemonsFact
from ..facts.docker import COMMENT
from ..observe import observe
from ..operations.docker0 import docker0_recorded, main_daemon_restored
from ..operations.files import File, files, no_files
from ..operations.images import no_images
from ..operations.leftovers import no_rules
from ..operations.main_daemon import main_daemon, set_rule, why_restart
from ..operations.restarts import STAY_DOWN, Bounced
from ..record import DOCKER_DROP_IN, FLANNEL_RUN, KUBELET, RECORD, SUBNET_ENV
from ..render import digest, render
from ..topology import Node
from . import flannel
from .bootstrap import proxies

TITLE = "main Docker"


def running_flags(node: Node) -> tuple[str, ...]:
    """What the main Docker's command line must have besides bip: the flags, and the packet size that is in force."""
    return (*flags(node), *asked_for(node), f"--mtu={flannel.mtu(node)}")


def revision(node: Node) -> str:
    """Tells the environment that Docker runs with from another one; empty where it gets none from us."""
    environment = proxies(node)
    return digest(json.dumps(environment)) if environment else ""


MARK = "0x4000/0x4000"
"""By which kube-proxy tells what it masquerades: connections from outside to a Service (pkg/proxy/iptables/proxier.go,
masqueradeBit)."""
NODE_PORTS = "30000:32767"
"""The apiserver's own service-node-port-range, as iptables prints it."""


def _ports(given: str) -> str:
    """Another range: the apiserver takes 80-90, 80+10 and 80 (apimachinery, pkg/util/net/port_range.go)."""
    found = re.fullmatch(r"(\d+)(?:([-+])(\d+))?", given)
    if found is None:
        return NODE_PORTS
    low, other = int(found[1]), int(found[3] or found[1])
    high = low + other if found[2] == "+" else other
    return str(low) if high == low else f"{low}:{high}"


def _rules(node: Node) -> list[str]:
    """What is let in to docker0 before all other rules, as ``iptables -S`` prints it.

    Docker drops from 28.2 on what comes in for docker0 and is not published, and each of its starts puts its chains
    before those of kube-proxy and flannel (moby libnetwork/iptables, EnsureJumpRule); a REJECT of the host's owner may
    stand before them, too.
    """
    node_ports = _ports(node.settings.apiserver_extra_args.get("service-node-port-range", ""))
    source = f"-s {node.settings.flannel_network}"
    link = f" -i {node.backend.link}" if node.backend.link else ""
    lets_in = (
        f"{source}{link} -o docker0",
        f"-o docker0 -m mark --mark {MARK}",
        f"-o docker0 -m conntrack --ctstate DNAT --ctorigdstport {node_ports}",
    )
    return [f"DOCKER-USER {what} -m comment --comment {COMMENT} -j ACCEPT" for what in lets_in]


def drop_in(node: Node) -> File:
    """Our drop-in."""
    text = render(
        f"{node.restart.init}/docker-drop-in.conf.j2",
        mounts=(node.docker_root, RECORD, KUBELET),
        subnet_env=SUBNET_ENV,
        environment=proxies(node),
        revision=revision(node),
        command=without_us(node),
        flags=flags(node),
        dockerd=program(node),
        lets_routed_in=LETS_ROUTED_IN,
        run=FLANNEL_RUN,
        set_rules=[set_rule(rule) for rule in _rules(node)],
    )
    return File(DOCKER_DROP_IN, text)


def bounced(node: Node) -> Bounced:
    """The running containers of others that a restart stops."""
    theirs = sorted(observe(DaemonsFact, node.host).main.running_others, key=lambda other: other.name)
    stay_down = [other for other in theirs if other.restart in STAY_DOWN]
    return Bounced(
        tuple(other.name for other in theirs),
        tuple(other.name for other in stay_down if not other.remove),
        tuple(other.name for other in stay_down if other.remove),
        tuple(other.name for other in theirs if other.proxied),
    )


def restart_due(node: Node) -> bool:
    """Whether an apply restarts the main Docker, as far as it is known before the run."""
    expected = bip(node)
    return (
        expected is None
        or why_restart(observe(DaemonsFact, node.host), running_flags(node), expected, revision(node)) is not None
    )


def apply(node: Node) -> None:
    """Write the drop-in and restart the main Docker on the node's subnet; all its changes are here."""
    # first: from then on any start of Docker moves docker0
    docker0_recorded(name="Record docker0's address", drop_in=DOCKER_DROP_IN)
    wrote = files(name="Write docker's drop-in", wanted=[drop_in(node)])
    main_daemon(
        name="Run the main Docker on the pod network",
        node=node,
        flags=running_flags(node),
        revision=revision(node),
        rules=_rules(node),
        drop_in=DOCKER_DROP_IN,
        bounced=bounced(node),
        when=[wrote],
    )


def remove(node: Node) -> None:
    """Take the drop-in away, start Docker as it was, with docker0's old address; then images go, with purge_data."""
    no_files(name="Remove docker's drop-in", paths=(DOCKER_DROP_IN,))
    main_daemon_restored(
        name="Run the main Docker as before",
        node=node,
        command=without_us(node),
        drop_in=DOCKER_DROP_IN,
        bounced=bounced(node),
    )
    no_rules(name="Remove our iptables rules")
    if node.settings.purge_data:
        no_images(name="Remove images")
