"""Whether it works: the node is Ready, docker0 of every node answers over the pod network, DNS answers a container."""

from __future__ import annotations

from ..facts.docker import PROGRAM
from ..operation import changes
from ..operations.kubernetes import node_ready, node_removed, pods_network_verified
from ..operations.wait import told, verified
from ..topology import Node, settings_of
from . import node as node_phase

TITLE = "verify"

CONTROL_PLANE = "node-role.kubernetes.io/control-plane="


def apply(node: Node) -> None:
    """Check it, where this run changed something on the host."""
    when, limit = list(changes(node.host)), node.settings.timeout_for_services
    node_ready(
        name="Wait for the node to be Ready",
        node=node.name,
        master=node.first_master,
        labels=(CONTROL_PLANE,) if node.is_master else (),
        limit=limit,
        when=when,
    )
    pods_network_verified(name="Check the pod network", master=node.first_master, limit=limit, when=when)
    if "coredns" in settings_of(node.first_master).addons:  # they alone are applied
        name = f"kubernetes.default.svc.{node.settings.dns_domain}"
        verified(
            name="Check DNS",
            what="the cluster's DNS to answer",
            test=f"timeout 20 docker run --rm --dns {node.settings.dns_server_ip} {node_phase.image(node)} "
            f"getent hosts {name}",
            limit=limit,
            evidence=f"docker ps --filter label={PROGRAM}=coredns --format '{{{{.Names}}}} {{{{.Status}}}}'",
            further="kubectl -n kube-system get pods -o wide -l k8s-app=kube-dns",
            when=when,
        )
    if node.is_first_master:
        line = "The control plane is up. For kubectl on this machine: pyinfra INVENTORY deploys/kubeconfig.py"
        told(name="Say how to go on", line=line, when=when)


def remove(node: Node) -> None:
    """Drain the node and take its object out of the API, where a master answers."""
    node_removed(name="Drain the node and delete it", node=node, limit=node.settings.timeout_for_drain)
