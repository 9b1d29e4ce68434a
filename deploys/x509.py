"""Keys and certificates, made in memory with `cryptography`; nothing here touches a host or a file."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
"""kubeadm's lifetime of an authority."""
RENEW_AT = 1 / 5
"""A certificate with less than this part of its lifetime left is issued anew."""

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True)
class Certificate:
    """A certificate as it should be; its key lies beside it.

    :param path: without ``.crt`` and ``.key``.
    :param signer: path of the authority, likewise.
    :param usages: out of ``server`` and ``client``.
    """

    path: str
    signer: str
    common_name: str
    organizations: tuple[str, ...] = ()
    sans: tuple[str, ...] = ()
    usages: tuple[str, ...] = ("client",)

    def describe(self, days: int) -> list[str]:
        """What a plan shows of it: never a key."""
        names = [f"subject alternative names: {', '.join(self.sans)}"] if self.sans else []
        organizations = "".join(f", O={o}" for o in self.organizations)
        return [
            f"subject: CN={self.common_name}{organizations}",
            *names,
            f"signer: {self.signer}.crt, usage: {' and '.join(self.usages)}, lifetime: {days} days",
        ]


@dataclass(frozen=True)
class Pair:
    """A certificate (or public key) and its private key, as PEM."""

    certificate: str
    key: str


BACKDATED = 300
"""Seconds for which a certificate is valid before it was issued: hosts' clocks may lag behind the control machine's."""


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(common_name: str, organizations: tuple[str, ...] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, latest: dt.datetime | None = None
) -> x509.CertificateBuilder:
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=BACKDATED)
    end = start + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(min(end, latest) if latest else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=not authority,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority, crl_sign=authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def new_authority(common_name: str) -> Pair:
    """A self-signed authority."""
    key = _new_key()
    name = _name(common_name)
    certificate = (
        _builder(name, name, key, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_pem(key))


def new_key_pair() -> Pair:
    """A public and a private key: what service account tokens are signed with."""
    key = _new_key()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Pair(public.decode(), _key_pem(key))


def _read(pem: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return None


def is_authority(pem: str) -> bool:
    """Whether this is a certificate that could sign others."""
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
        return found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        return False


def same(pem: str, other: str) -> bool:
    """Whether two texts are one certificate."""
    have = _read(pem)
    return have is not None and have == _read(other)


def belong_together(pair: Pair) -> bool:
    """Whether it is a certificate with its own key, of an elliptic curve and not encrypted, as ours are."""
    try:
        public = x509.load_pem_x509_certificate(pair.certificate.encode()).public_key()
        key = serialization.load_pem_private_key(pair.key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == public


def issue(wanted: Certificate, authority: Pair, days: int) -> Pair:
    """A new key and its certificate, which does not outlive its authority's.

    :raises ValueError: the authority's PEM is broken, or it has ended.
    """
    ca = x509.load_pem_x509_certificate(authority.certificate.encode())
    ca_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an elliptic curve key")
    key = _new_key()
    builder = (
        _builder(_name(wanted.common_name, wanted.organizations), ca.subject, key, days, ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[u] for u in wanted.usages]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if wanted.sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(s) for s in wanted.sans]), critical=False
        )
    return Pair(_pem(builder.sign(ca_key, hashes.SHA256())), _key_pem(key))


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _sans(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in extension.value}


def _usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def names(pem: str) -> set[str]:
    """Names and addresses for which a certificate is; none where it can't be read."""
    have = _read(pem)
    return _sans(have) if have else set()


def end_of(pem: str) -> dt.datetime | None:
    """When a certificate ends, in UTC; None where it can't be read."""
    have = _read(pem)
    return have.not_valid_after_utc if have else None


def has_ended(pem: str) -> bool:
    """Whether a certificate's lifetime is over."""
    end = end_of(pem)
    return end is not None and end < dt.datetime.now(dt.UTC)


def part_left(pem: str) -> float:
    """What is left of a certificate's lifetime, 1 where it has just begun; 1 too where it can't be read."""
    have = _read(pem)
    if have is None:
        return 1
    lifetime = have.not_valid_after_utc - have.not_valid_before_utc
    return (have.not_valid_after_utc - dt.datetime.now(dt.UTC)) / lifetime


def described(pem: str) -> str:
    """Names and dates of a certificate, in lines for people."""
    try:
        have = x509.load_pem_x509_certificate(pem.encode())
        subject, issuer, names = have.subject.rfc4514_string(), have.issuer.rfc4514_string(), sorted(_sans(have))
    except ValueError:
        return "  is not readable"
    begin, end = have.not_valid_before_utc, have.not_valid_after_utc
    dates = f"from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: {(end - dt.datetime.now(dt.UTC)).days} days left"
    return f"  subject {subject}\n  issuer {issuer}\n  names {', '.join(names) or 'none'}\n  {dates}"


def why_not(pem: str, wanted: Certificate, authority_pem: str, *, only_identity: bool = False) -> str | None:
    """Why a certificate must be issued anew; None where it is good.

    :param only_identity: look at issuer, subject and expiry alone (what the kubelet rotates itself).
    """
    try:
        have = x509.load_pem_x509_certificate(pem.encode())
        authority = x509.load_pem_x509_certificate(authority_pem.encode())
    except ValueError:
        return "it is not readable"
    try:
        have.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return f"it was not signed by {wanted.signer}.crt"
    if {a.value for a in have.subject} != {wanted.common_name, *wanted.organizations}:
        return f"its subject is {have.subject.rfc4514_string()}"
    now = dt.datetime.now(dt.UTC)
    left, lifetime = have.not_valid_after_utc - now, have.not_valid_after_utc - have.not_valid_before_utc
    if left < (dt.timedelta(0) if only_identity else lifetime * RENEW_AT):
        state = "ended" if left < dt.timedelta(0) else "ends"
        return f"its lifetime {state} on {have.not_valid_after_utc:%Y-%m-%d}"
    if only_identity:
        return None
    try:
        usages, names = _usages(have), _sans(have)
    except ValueError:
        return "its extensions are not readable"
    if usages != {_USAGES[u] for u in wanted.usages}:
        return f"it is not for use as {' and '.join(wanted.usages)}"
    if names != set(wanted.sans):
        return f"its names are {', '.join(sorted(names)) or 'none'}"
    return None
