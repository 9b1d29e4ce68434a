"""Certificates in memory: what they say, why they are issued anew, and that keys stay inside."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from deploys import x509
from deploys.x509 import Certificate, Pair

CA = x509.new_authority("kubernetes")
WANTED = Certificate("/pki/api", "/pki/ca", "kube-apiserver", ("ops",), ("n1", "10.0.0.1", "10.96.0.1"), ("server",))
GOOD = x509.issue(WANTED, CA, 365)


def loaded(pem: str) -> cx509.Certificate:
    """A certificate."""
    return cx509.load_pem_x509_certificate(pem.encode())


def test_a_leaf_says_what_was_wished_and_is_signed_by_its_authority() -> None:
    leaf = loaded(GOOD.certificate)
    leaf.verify_directly_issued_by(loaded(CA.certificate))
    assert leaf.subject.rfc4514_string() == "CN=kube-apiserver,O=ops"
    sans = leaf.extensions.get_extension_for_class(cx509.SubjectAlternativeName).value
    assert sans.get_values_for_type(cx509.DNSName) == ["n1"]
    assert [str(i) for i in sans.get_values_for_type(cx509.IPAddress)] == ["10.0.0.1", "10.96.0.1"]
    usage = leaf.extensions.get_extension_for_class(cx509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_leaf_is_no_authority_and_does_not_hold_one() -> None:
    leaf = loaded(GOOD.certificate)
    assert leaf.extensions.get_extension_for_class(cx509.BasicConstraints).value.ca is False
    assert leaf.extensions.get_extension_for_class(cx509.KeyUsage).value.key_cert_sign is False
    assert GOOD.certificate.count("BEGIN CERTIFICATE") == 1


def test_an_authority_may_sign_and_lives_ten_years() -> None:
    ca = loaded(CA.certificate)
    constraints = ca.extensions.get_extension_for_class(cx509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert (ca.not_valid_after_utc - ca.not_valid_before_utc).days == 3650


def test_keys_belong_to_their_certificates_and_are_never_the_same() -> None:
    for pair in (CA, GOOD):
        key = serialization.load_pem_private_key(pair.key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.public_key() == loaded(pair.certificate).public_key()
    assert x509.issue(WANTED, CA, 1).key != x509.issue(WANTED, CA, 1).key


def test_a_certificate_is_valid_a_little_before_it_was_made_for_clocks_that_lag() -> None:
    start = loaded(x509.issue(WANTED, CA, 1).certificate).not_valid_before_utc
    assert dt.timedelta(minutes=4) < dt.datetime.now(dt.UTC) - start < dt.timedelta(minutes=6)


def test_a_key_pair_is_a_bare_public_key() -> None:
    pair = x509.new_key_pair()
    assert pair.certificate.startswith("-----BEGIN PUBLIC KEY-----")
    public = serialization.load_pem_public_key(pair.certificate.encode())
    private = serialization.load_pem_private_key(pair.key.encode(), None)
    assert private.public_key() == public


def test_a_good_certificate_needs_no_reason() -> None:
    assert x509.why_not(GOOD.certificate, WANTED, CA.certificate) is None


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (replace(WANTED, common_name="other"), "its subject is CN=kube-apiserver,O=ops"),
        (replace(WANTED, organizations=()), "its subject is CN=kube-apiserver,O=ops"),
        (replace(WANTED, sans=("n1",)), "its names are 10.0.0.1, 10.96.0.1, n1"),
        (replace(WANTED, sans=(*WANTED.sans, "n2")), "its names are 10.0.0.1, 10.96.0.1, n1"),
        (replace(WANTED, usages=("server", "client")), "it is not for use as server and client"),
    ],
)
def test_a_certificate_that_says_something_else_is_issued_anew(wanted: Certificate, reason: str) -> None:
    found = x509.why_not(GOOD.certificate, wanted, CA.certificate)
    assert found is not None
    assert reason in found


def test_names_in_another_order_are_the_same() -> None:
    assert x509.why_not(GOOD.certificate, replace(WANTED, sans=WANTED.sans[::-1]), CA.certificate) is None


def test_a_certificate_of_another_authority_with_the_same_name_is_issued_anew() -> None:
    other = x509.new_authority("kubernetes")
    assert x509.why_not(GOOD.certificate, WANTED, other.certificate) == "it was not signed by /pki/ca.crt"


@pytest.mark.parametrize("pem", ["", "garbage", GOOD.certificate[:200], GOOD.key])
def test_what_is_no_certificate_is_issued_anew(pem: str) -> None:
    assert x509.why_not(pem, WANTED, CA.certificate) == "it is not readable"


def aged(days: int, share: float) -> Pair:
    """A certificate of which that share of its lifetime is over."""
    now = dt.datetime.now(dt.UTC)

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return now - dt.timedelta(days=days * share)

    with patch.object(x509, "dt", SimpleNamespace(datetime=Clock, timedelta=dt.timedelta, UTC=dt.UTC)):
        return x509.issue(WANTED, CA, days)


def test_a_certificate_is_renewed_in_the_last_fifth_of_its_lifetime() -> None:
    assert x509.why_not(aged(100, 0.79).certificate, WANTED, CA.certificate) is None
    assert "its lifetime ends on " in str(x509.why_not(aged(100, 0.81).certificate, WANTED, CA.certificate))
    assert "its lifetime ended on " in str(x509.why_not(aged(100, 1.1).certificate, WANTED, CA.certificate))


def test_what_the_kubelet_rotates_is_looked_at_for_issuer_subject_and_end_alone() -> None:
    other = replace(WANTED, sans=("x",), usages=("client",))
    assert x509.why_not(GOOD.certificate, other, CA.certificate, only_identity=True) is None
    assert x509.why_not(aged(100, 0.95).certificate, WANTED, CA.certificate, only_identity=True) is None
    assert x509.why_not(aged(100, 1.1).certificate, WANTED, CA.certificate, only_identity=True) is not None
    wrong = replace(WANTED, common_name="x")
    assert x509.why_not(GOOD.certificate, wrong, CA.certificate, only_identity=True) is not None


def test_a_description_names_everything_but_a_key() -> None:
    text = "\n".join(WANTED.describe(365))
    for word in ("CN=kube-apiserver", "O=ops", "10.96.0.1", "/pki/ca.crt", "server", "365 days"):
        assert word in text
    assert "key" not in text.lower().replace("kube-apiserver", "")


def test_an_authority_that_is_broken_is_said() -> None:
    with pytest.raises(ValueError, match=r"."):
        x509.issue(WANTED, Pair("x", "y"), 1)
