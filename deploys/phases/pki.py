"""Authorities on the first master, and each node's certificates: kubeadm's names and places."""

from __future__ import annotations

from ..facts import access
from ..operations.certificates import authorities, certificates, no_certificates
from ..record import PKI
from ..topology import Node
from ..x509 import Certificate

TITLE = "certificates"

CA = f"{PKI}/ca"
ETCD_CA = f"{PKI}/etcd/ca"
FRONT_PROXY_CA = f"{PKI}/front-proxy-ca"
SERVICE_ACCOUNTS = f"{PKI}/sa"
AUTHORITIES = {CA: "kubernetes", ETCD_CA: "etcd-ca", FRONT_PROXY_CA: "front-proxy-ca"}

ADMINS = "kubeadm:cluster-admins"


def _master(node: Node) -> list[Certificate]:
    domain = node.settings.dns_domain
    api = (
        node.name, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        f"kubernetes.default.svc.{domain}", "localhost", node.service_ip(), node.address,
        node.master_address, "127.0.0.1", *node.settings.apiserver_cert_sans,
    )  # fmt: skip
    etcd = tuple(dict.fromkeys((node.name, "localhost", node.address, node.master_address, "127.0.0.1")))
    both = ("server", "client")
    return [
        Certificate(f"{PKI}/apiserver", CA, "kube-apiserver", (), tuple(dict.fromkeys(api)), ("server",)),
        Certificate(f"{PKI}/apiserver-kubelet-client", CA, "kube-apiserver-kubelet-client"),
        Certificate(f"{PKI}/apiserver-etcd-client", ETCD_CA, access.APISERVER),
        Certificate(f"{PKI}/front-proxy-client", FRONT_PROXY_CA, "front-proxy-client"),
        Certificate(f"{PKI}/etcd/server", ETCD_CA, node.name, (), etcd, both),
        Certificate(f"{PKI}/etcd/peer", ETCD_CA, node.name, (), etcd, both),
        Certificate(f"{PKI}/etcd/healthcheck-client", ETCD_CA, access.HEALTH),
        Certificate(f"{PKI}/admin", CA, "kubernetes-admin", (ADMINS,)),
        Certificate(f"{PKI}/super-admin", CA, "kubernetes-super-admin", ("system:masters",)),
        Certificate(f"{PKI}/controller-manager", CA, "system:kube-controller-manager"),
        Certificate(f"{PKI}/scheduler", CA, "system:kube-scheduler"),
    ]


def wanted(node: Node) -> list[Certificate]:
    """The certificates of a node."""
    every = [
        Certificate(f"{PKI}/etcd/flannel-client", ETCD_CA, access.FLANNEL, (node.name,)),
        Certificate(f"{PKI}/kubelet", CA, f"system:node:{node.name}", ("system:nodes",),
                    (node.name, node.address), ("server",)),
        Certificate(f"{PKI}/kube-proxy", CA, "system:kube-proxy"),
    ]  # fmt: skip
    return (_master(node) if node.is_master else []) + every


def authority_files() -> list[str]:
    """What a new machine can't make again: without it a cluster's data is lost to every client."""
    pairs = [f"{path}{ending}" for path in AUTHORITIES for ending in (".crt", ".key")]
    return [*pairs, f"{SERVICE_ACCOUNTS}.pub", f"{SERVICE_ACCOUNTS}.key"]


def apply(node: Node) -> None:
    """Make authorities once, issue what is missing, wrong or near its end."""
    if node.is_first_master:
        authorities(name="Make authorities", names=AUTHORITIES, key_pairs=(SERVICE_ACCOUNTS,))
    certificates(
        name="Issue certificates",
        wanted=wanted(node),
        authority=node.first_master,
        days=node.settings.certificate_days,
    )


def remove(node: Node) -> None:
    """Certificates go; the authorities only with the data, for an etcd without its CA is lost."""
    paths = [c.path for c in wanted(node)]
    if node.settings.purge_data or not node.is_first_master:
        paths += [*AUTHORITIES, SERVICE_ACCOUNTS]
    no_certificates(name="Remove certificates", paths=paths)
