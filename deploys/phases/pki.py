"""Authorities on the first master, and each node's certificates: kubeadm's names and places.

A certificate that is issued anew restarts nothing, since programs read it from disk again. Read in the sources
of Kubernetes 1.37.2, etcd 3.7.0 and flannel 0.28.10, and measured in tests/cluster/test_certificates.py:

======================  ============================  ========================================================
program                 certificate                   when it reads it
======================  ============================  ========================================================
etcd                    etcd/server, etcd/peer        at each handshake (client/pkg/transport/listener.go)
kube-apiserver          apiserver                     when the file changes (dynamic_serving_content.go)
..                      front-proxy-client            when the file changes (kube-aggregator's apiserver.go)
..                      apiserver-etcd-client         at each handshake (etcd3.go, etcd's TLSInfo)
..                      apiserver-kubelet-client      every 5 minutes and at each handshake (cert_rotation.go)
kube-controller-manager controller-manager            every 5 minutes and at each handshake (cert_rotation.go)
kube-scheduler          scheduler/client              likewise
kube-proxy              kube-proxy/client             likewise
kubelet, as a server    kubelet                       when the file changes (ReloadKubeletServerCertificateFile)
kubelet, as a client    kubelet-client-current.pem    rotated by itself after 70 to 90 % of its lifetime, by a CSR;
                                                      one that a run issued at its start only
flannel                 etcd/flannel-client           at its start only (newTlsConfig in etcd/registry.go)
======================  ============================  ========================================================

So flannel is restarted with its new certificate; traffic goes on meanwhile. The kubelet is, where its own could not
be rotated any more.
"""

from __future__ import annotations

from ..facts import access
from ..facts.files import HostFiles
from ..observe import observe
from ..operations.certificates import authorities, certificates
from ..operations.files import no_files
from ..operations.kubeconfig import ADMIN
from ..record import FLANNEL_CONTAINER, KUBE_PROXY, PKI, SCHEDULER
from ..topology import Node
from ..x509 import Certificate
from . import flannel

TITLE = "certificates"

CA = f"{PKI}/ca"
ETCD_CA = f"{PKI}/etcd/ca"
FRONT_PROXY_CA = f"{PKI}/front-proxy-ca"
SERVICE_ACCOUNTS = f"{PKI}/sa"
AUTHORITIES = {CA: "kubernetes", ETCD_CA: "etcd-ca", FRONT_PROXY_CA: "front-proxy-ca"}

READ_ONCE = {flannel.CERTIFICATE: ("bootstrap", FLANNEL_CONTAINER)}
"""Certificate → daemon and container of the program that reads it at its start only."""

API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
"""Names by which the apiserver is asked from within; the last one also with the DNS domain."""
ADMINS = "kubeadm:cluster-admins"


def _master(node: Node) -> list[Certificate]:
    domain = node.settings.dns_domain
    api = (
        node.name, *API_NAMES, f"{API_NAMES[-1]}.{domain}", node.service_ip(), node.address,
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
        Certificate(f"{PKI}/admin", CA, ADMIN, (ADMINS,)),
        Certificate(f"{PKI}/super-admin", CA, "kubernetes-super-admin", ("system:masters",)),
        Certificate(f"{PKI}/controller-manager", CA, "system:kube-controller-manager"),
        Certificate(f"{SCHEDULER}/client", CA, "system:kube-scheduler"),
    ]


def wanted(node: Node) -> list[Certificate]:
    """The certificates of a node."""
    every = [
        Certificate(flannel.CERTIFICATE, ETCD_CA, access.FLANNEL, (node.name,)),
        Certificate(f"{PKI}/kubelet", CA, f"system:node:{node.name}", ("system:nodes",),
                    (node.name, node.address), ("server",)),
        Certificate(f"{KUBE_PROXY}/client", CA, "system:kube-proxy"),
    ]  # fmt: skip
    return (_master(node) if node.is_master else []) + every


def authority_files() -> list[str]:
    """What a new machine can't make again: without it a cluster's data is lost to every client."""
    pairs = [f"{path}{ending}" for path in AUTHORITIES for ending in (".crt", ".key")]
    return [*pairs, f"{SERVICE_ACCOUNTS}.pub", f"{SERVICE_ACCOUNTS}.key"]


def has_authorities(node: Node) -> bool:
    """Whether a key of an authority is on this host, by the record: it may have been the first master before."""
    found = observe(HostFiles, node.host)
    return any(found.ours(path) for path in authority_files() if path.endswith(".key"))


def apply(node: Node) -> None:
    """Make authorities once, issue what is missing, wrong or near its end."""
    if node.is_first_master:
        authorities(name="Make authorities", names=AUTHORITIES, key_pairs=(SERVICE_ACCOUNTS,))
    certificates(
        name="Issue certificates",
        wanted=wanted(node),
        authority=node.first_master,
        days=node.settings.certificate_days,
        renew=node.settings.renew_certificates,
        restart=READ_ONCE,
    )


def remove(node: Node) -> None:
    """Certificates go; the authorities only with the data, for an etcd without its CA is lost."""
    found = observe(HostFiles, node.host)
    kept = authority_files() if has_authorities(node) and not node.settings.purge_data else []
    no_files(name="Remove certificates", paths=[path for path in found.below(PKI) if path not in kept])
