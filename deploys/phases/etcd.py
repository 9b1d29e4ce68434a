"""etcd on the first master, in the bootstrap daemon: TLS, client certificates only, each with its own rights."""

from __future__ import annotations

from ..facts.etcd import ETCDCTL
from ..operations.access import access_limited
from ..operations.containers import Spec, container, docker, no_container
from ..operations.leftovers import no_directories
from ..operations.wait import wait_for
from ..record import ETCD_CONTAINER, ETCD_DATA, PKI
from ..topology import Node

TITLE = "etcd"

OOM_SCORE = "--oom-score-adj=-997"
"""What the kubelet gives to node-critical pods, as kubeadm's etcd is one (pkg/kubelet/qos/policy.go): where memory runs
out, the kernel ends others first."""


def image(node: Node) -> str:
    """Reference of the etcd image."""
    return node.image(f"registry.k8s.io/etcd:{node.settings.etcd_version or node.release.etcd}")


def spec(node: Node) -> Spec:
    """The container: kubeadm's flags of the same minor."""
    pki, address = f"{PKI}/etcd", node.address
    # what nodes are told, where it is one of this host's own: behind a forwarder it is not
    own = {i.address for i in node.found.interfaces}
    clients = dict.fromkeys(("127.0.0.1", address, *({node.master_address} & own)))
    flags = {
        "name": node.name,
        "data-dir": ETCD_DATA,
        "listen-client-urls": ",".join(f"https://{client}:2379" for client in clients),
        "advertise-client-urls": f"https://{address}:2379",
        # a peer may write what it likes, in anybody's name, and every node has a certificate of this authority: where
        # etcd has one member there is no peer
        "listen-peer-urls": "https://127.0.0.1:2380",
        "peer-cert-allowed-cn": node.name,
        "initial-advertise-peer-urls": f"https://{address}:2380",
        "initial-cluster": f"{node.name}=https://{address}:2380",
        "cert-file": f"{pki}/server.crt",
        "key-file": f"{pki}/server.key",
        "trusted-ca-file": f"{pki}/ca.crt",
        "client-cert-auth": "true",
        # the gateway asks in the name of the server's certificate, not of its client's
        "enable-grpc-gateway": "false",
        "peer-cert-file": f"{pki}/peer.crt",
        "peer-key-file": f"{pki}/peer.key",
        "peer-trusted-ca-file": f"{pki}/ca.crt",
        "peer-client-cert-auth": "true",
        "listen-metrics-urls": "http://127.0.0.1:2381",
        "snapshot-count": "10000",
        "feature-gates": "InitialCorruptCheck=true",
        "watch-progress-notify-interval": "5s",
        **node.settings.etcd_extra_args,
    }
    return Spec(
        image(node),
        ("--net=host", OOM_SCORE, f"--restart={node.settings.restart_policy}",
         "-v", f"{ETCD_DATA}:{ETCD_DATA}", "-v", f"{pki}:{pki}:ro"),
        ("etcd", *(f"--{flag}={value}" for flag, value in flags.items())),
    )  # fmt: skip


def apply(node: Node) -> None:
    """Run it, wait until it is healthy, limit what its clients may do."""
    if not node.is_first_master:
        return
    limit = node.settings.timeout_for_services
    runs = container(name="Run etcd", daemon="bootstrap", container=ETCD_CONTAINER, spec=spec(node))
    wait_for(
        name="Wait for etcd",
        what="etcd to be healthy",
        test=f"{ETCDCTL} endpoint health",
        limit=limit,
        # a panic ends in a long stack: what it says stands before that
        evidence=f"df -h {ETCD_DATA}; {docker('bootstrap')} logs --tail 300 {ETCD_CONTAINER} 2>&1 | "
        'grep -iE \'"level":"(error|fatal|panic)|^panic|no space\' | tail -n 8',
        further=f"{docker('bootstrap')} logs {ETCD_CONTAINER}",
        when=[runs],
    )
    access_limited(name="Let each client of etcd do what it needs only")


def remove(node: Node) -> None:
    """Stop it; its data goes with purge_data only. By the record: the host may have been the first master before."""
    no_container(name="Remove etcd", daemon="bootstrap", container=ETCD_CONTAINER)
    if node.settings.purge_data:
        no_directories(name="Remove etcd's data", paths=(ETCD_DATA,))
