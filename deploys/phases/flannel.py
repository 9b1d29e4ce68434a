"""flannel: the node's subnet is reserved for life and recorded, then flannel takes it."""

from __future__ import annotations

import json

from ..backends import LINKS
from ..operations.bootstrap_daemon import bootstrap_daemon_started
from ..operations.containers import Spec, container, docker, no_container
from ..operations.files import no_files
from ..operations.flannel import (
    link_sized,
    network_configured,
    subnet_recorded,
    subnet_released,
    subnet_taken,
    variant_hinted,
)
from ..operations.leftovers import no_chains, no_directories, no_links, no_routes
from ..operations.wait import wait_for
from ..record import BOOTSTRAP_UNIT, FLANNEL_CONTAINER, FLANNEL_RUN, PKI, SUBNET_ENV
from ..topology import Node
from .etcd import OOM_SCORE

TITLE = "flannel"

CERTIFICATE = f"{PKI}/etcd/flannel-client"
"""Its certificate, without ending."""
MASQUERADING = "FLANNEL-POSTRTG"
"""Its chain for that (pkg/trafficmngr/iptables)."""
READY = (
    f"started=$({docker('bootstrap')} inspect -f '{{{{if .State.Running}}}}{{{{.State.StartedAt}}}}{{{{end}}}}' "
    f"{FLANNEL_CONTAINER})"
    f' && [ -n "$started" ] && [ -n "$(find {FLANNEL_RUN}/subnet.env -newermt "$started")" ]'
)
"""flannel writes its file when it has the lease, the link and its rules (main.go): one that is newer than the start of
the container that runs now is this flannel's, not the one before's and not the record's copy."""


def image(node: Node) -> str:
    """Reference of the flannel image."""
    return node.image(f"ghcr.io/flannel-io/flannel:{node.settings.flannel_version or node.release.flannel}")


def spec(node: Node) -> Spec:
    """The container. flannel reads its backend in etcd, at its start only, and keeps to one variant of iptables."""
    pki, variant = f"{PKI}/etcd", ", iptables legacy" if node.iptables == "legacy" else ""
    return Spec(
        image(node),
        ("--net=host", "--privileged", OOM_SCORE, f"--restart={node.settings.restart_policy}",
         "-v", f"{FLANNEL_RUN}:{FLANNEL_RUN}", "-v", "/run/xtables.lock:/run/xtables.lock",
         "-v", f"{pki}:{pki}:ro"),
        (f"--etcd-endpoints=https://{node.master_address}:2379", f"--etcd-cafile={pki}/ca.crt",
         f"--etcd-certfile={CERTIFICATE}.crt", f"--etcd-keyfile={CERTIFICATE}.key",
         f"--iface={node.address}", f"--ip-masq={str(node.settings.flannel_ipmasq).lower()}"),
        revision=f"backend {node.settings.flannel_backend}{variant}",
    )  # fmt: skip


def mtu(node: Node) -> int:
    """MTU of the pod network on this node."""
    return node.interface.mtu - node.backend.overhead


def apply(node: Node) -> None:
    """Reserve the node's subnet, record it, run flannel on it."""
    wanted = node.settings
    if node.is_first_master:
        config = {
            "Network": wanted.flannel_network,
            "SubnetLen": 24,
            "Backend": {"Type": wanted.flannel_backend},
        }
        network_configured(name="Configure flannel's network in etcd", config=json.dumps(config))
    subnet_recorded(name="Reserve and record the node's subnet", node=node, mtu=mtu(node))
    taken = subnet_taken(name="Let flannel take the recorded subnet", node=node)
    variant_hinted(name="Let flannel use the host's variant of iptables", spec=spec(node))
    runs = container(
        name="Run flannel",
        daemon="bootstrap",
        container=FLANNEL_CONTAINER,
        spec=spec(node),
        renewed=(f"{CERTIFICATE}.crt",),
    )
    wait_for(
        name="Wait for flannel",
        what="flannel to take the recorded subnet",
        test=f"{READY} && "
        f'[ "$(grep ^FLANNEL_SUBNET {SUBNET_ENV})" = "$(grep ^FLANNEL_SUBNET {FLANNEL_RUN}/subnet.env)" ]',
        limit=wanted.timeout_for_services,
        evidence=f"grep -H SUBNET {SUBNET_ENV} {FLANNEL_RUN}/subnet.env; "
        f"{docker('bootstrap')} logs --tail 15 {FLANNEL_CONTAINER}",
        further=f"{docker('bootstrap')} logs {FLANNEL_CONTAINER}",
        when=[taken, runs],
    )
    if link := node.backend.link:
        link_sized(name="Let flannel's link carry packets of the pod network's size", link=link, mtu=mtu(node))
    no_links(name="Remove another backend's link", links=[link for link in LINKS if link != node.backend.link])
    if not wanted.flannel_ipmasq:  # one that starts without it leaves the chain of the one before
        no_chains(name="Remove flannel's masquerading", prefixes=(MASQUERADING,))


def remove(node: Node) -> None:
    """Stop it, take away its link and chains; the subnet goes with purge_data only."""
    bootstrap_daemon_started(name="Start a bootstrap daemon that is down", restart=node.restart, unit=BOOTSTRAP_UNIT)
    no_container(name="Remove flannel", daemon="bootstrap", container=FLANNEL_CONTAINER)
    no_links(name="Remove flannel's link", links=LINKS)
    no_routes(name="Remove flannel's routes")
    no_chains(name="Remove flannel's iptables chains", prefixes=("FLANNEL-",))
    no_directories(name="Remove flannel's run-time files", paths=(FLANNEL_RUN,))
    if node.settings.purge_data:
        subnet_released(name="Give the node's subnet back", node=node)
        no_files(name="Remove the recorded subnet", paths=(SUBNET_ENV,))
