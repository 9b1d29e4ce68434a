"""Certificates as if issued long ago: the hosts share one clock, so dates are what a test can change."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab.hosts import Host

from .cluster import BOOTSTRAP, Cluster

PKI = "/etc/kubernetes/pki"
CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
EVERY_NODE = ("etcd/flannel-client", "kubelet", "kube-proxy/client")
OF_THE_MASTER = (
    "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "etcd/server", "etcd/peer",
    "etcd/healthcheck-client", "admin", "super-admin", "controller-manager", "scheduler/client",
)  # fmt: skip
AUTHORITIES = ("ca", "etcd/ca", "front-proxy-ca", "sa")


def names(cluster: Cluster, host: Host) -> tuple[str, ...]:
    """The certificates of a host, but the authorities', by their place in pki/."""
    return (*OF_THE_MASTER, *EVERY_NODE) if host is cluster.master else EVERY_NODE


def parsed(pem: str) -> x509.Certificate:
    """The first certificate of a PEM text."""
    return x509.load_pem_x509_certificate(pem[pem.index("-----BEGIN CERT") :].encode())


def certificate(host: Host, name: str) -> x509.Certificate:
    """A certificate of a host."""
    return parsed(host.read(name if name.startswith("/") else f"{PKI}/{name}.crt"))


def serials(host: Host, which: Iterable[str]) -> dict[str, int]:
    """Name → serial number."""
    return {name: certificate(host, name).serial_number for name in which}


def age(cluster: Cluster, host: Host, which: Sequence[str], ago: float, left: float) -> None:
    """Put these certificates there anew: the same names and keys, signed by the cluster's own authority, but issued
    `ago` days ago and with `left` days to go. The kubelet's own (CLIENT) keeps its key in the same file."""
    for name in which:
        path = name if name.startswith("/") else f"{PKI}/{name}.crt"
        text = host.read(path)
        new = _signed_again(cluster, parsed(text), ago, left)
        end = "-----END CERTIFICATE-----\n"
        old = text[text.index("-----BEGIN CERT") : text.index(end) + len(end)]
        # in place: a link stays a link
        host.run(f"cat > {path}", input=text.replace(old, new))


def _signed_again(cluster: Cluster, old: x509.Certificate, ago: float, left: float) -> str:
    issuer = old.issuer.rfc4514_string().removeprefix("CN=")
    place = {"kubernetes": "ca", "etcd-ca": "etcd/ca", "front-proxy-ca": "front-proxy-ca"}[issuer]
    key = serialization.load_pem_private_key(cluster.master.read(f"{PKI}/{place}.key").encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=ago))
        .not_valid_after(now + dt.timedelta(days=left))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def served(host: Host, port: int) -> int:
    """Serial number of the certificate that a program serves."""
    return parsed(ssl.get_server_certificate((host.address, port))).serial_number


def keys(host: Host) -> dict[str, str]:
    """Path in pki/ → hash of each private key."""
    lines = host.run(f"cd {PKI} && find . -name '*.key' -exec sha256sum {{}} +").stdout.splitlines()
    return {path.removeprefix("./"): digest for digest, path in (line.split() for line in lines)}


def started(host: Host) -> dict[str, str]:
    """Container of either daemon → its id and when it was started."""
    form = "{{.Name}} {{.Id}} {{.State.StartedAt}}"
    command = f"docker inspect -f '{form}' $(docker ps -q); {BOOTSTRAP} inspect -f '{form}' $({BOOTSTRAP} ps -q)"
    lines = (line.split(" ", 1) for line in host.run(command).stdout.splitlines())
    return {name.lstrip("/"): what for name, what in lines}


def restarted(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Names of containers that are not as they were."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}
