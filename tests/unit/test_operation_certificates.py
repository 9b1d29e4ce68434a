"""Certificates: what is issued, when, and that no key is made for a plan or shown in one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deploys import x509
from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import Files, HostFiles
from deploys.operations import certificates as module
from deploys.operations.certificates import authorities, certificates, kubelet_client
from deploys.operations.files import File
from deploys.x509 import Certificate, Pair

from .harness import Fails, Shell, Step, World
from .known import altered, daemons, host_files, running

PKI = "/etc/kubernetes/pki"
CA = f"{PKI}/ca"
CA_PAIR = x509.new_authority("kubernetes")
WANTED = Certificate(f"{PKI}/admin", CA, "kubernetes-admin", ("admins",), ("n1", "10.0.0.1"), ("client",))
ADMIN = x509.issue(WANTED, CA_PAIR, 365)


def pair(path: str, made: Pair, public: str = ".crt") -> tuple[File, File]:
    """A certificate and its key as files."""
    return File(path + ".key", made.key, "600", secret=True), File(path + public, made.certificate)


MASTER = host_files(*pair(CA, CA_PAIR), *pair(WANTED.path, ADMIN))


@contextmanager
def keys(**by_path: str) -> Iterator[None]:
    """What the first master's keys are, read without printing."""

    def read(host: object, path: str) -> str:
        return by_path.get(path.removeprefix(f"{PKI}/").removesuffix(".key").replace("-", "_"), "")

    with patch.object(module, "pem", read):
        yield


def issue(world: World, on: str = "m1", days: int = 365, **more: Any) -> list[Step]:
    """Run the operation for a host."""
    more = {"renew": False, "restart": {}, **more}
    return world.run(certificates, on=on, wanted=[WANTED], authority=world.host("m1"), days=days, **more)


def written(step: Step) -> dict[str, str]:
    """Path → content of what a command writes."""
    assert isinstance(step, Shell)
    return {path: member.content for path, member in step.written.items()}


def test_authorities_that_are_there_stay() -> None:
    here = World(facts={HostFiles: host_files(*pair(CA, CA_PAIR), *pair(f"{PKI}/sa", x509.new_key_pair(), ".pub"))})
    assert here.run(authorities, names={CA: "kubernetes"}, key_pairs=[f"{PKI}/sa"]) == []
    assert here.noops == ["the authorities are there"]


def test_missing_authorities_are_made_with_keys_that_only_root_reads() -> None:
    here = World(facts={HostFiles: host_files()})
    mend, write = here.run(authorities, names={CA: "kubernetes"}, key_pairs=[f"{PKI}/sa"])
    assert mend == Shell("true")
    assert isinstance(write, Shell)
    assert {path: m.mode for path, m in write.written.items()} == {
        f"{CA}.key": "600", f"{CA}.crt": "644", f"{PKI}/sa.key": "600", f"{PKI}/sa.pub": "644",
    }  # fmt: skip
    ca = cx509.load_pem_x509_certificate(write.written[f"{CA}.crt"].content.encode())
    assert ca.subject.rfc4514_string() == "CN=kubernetes"
    assert "PRIVATE" not in write.text


def test_the_plan_makes_no_key_and_shows_none() -> None:
    here = World(facts={HostFiles: host_files()})
    with patch.object(x509, "_new_key", side_effect=AssertionError("a key was made for a plan")):
        said = here.says(authorities, names={CA: "kubernetes"}, key_pairs=[f"{PKI}/sa"])
    assert f"Will make authority {CA}.crt (CN=kubernetes, 3650 days) and its key" in said
    assert f"Will make key pair {PKI}/sa.pub, {PKI}/sa.key" in said


@pytest.mark.parametrize("lost", [f"{CA}.crt", f"{CA}.key", f"{PKI}/sa.pub", f"{PKI}/sa.key"])
@pytest.mark.parametrize("emptied", [False, True])
def test_half_of_a_pair_is_never_replaced(lost: str, emptied: bool) -> None:
    every = (*pair(CA, CA_PAIR), *pair(f"{PKI}/sa", x509.new_key_pair(), ".pub"))
    left = host_files(*(f for f in every if f.path != lost), *([File(lost, "")] if emptied else []))
    (step,) = World(facts={HostFiles: left}).run(authorities, names={CA: "kubernetes"}, key_pairs=[f"{PKI}/sa"])
    assert isinstance(step, Fails)
    assert f"put {lost} back" in step.reason


def test_an_authority_that_is_not_ours_is_never_replaced() -> None:
    theirs = altered(altered(host_files(*pair(CA, CA_PAIR)), f"{CA}.key", ours=False), f"{CA}.crt", ours=False)
    (step,) = World(facts={HostFiles: theirs}).run(authorities, names={CA: "kubernetes"}, key_pairs=())
    assert step == Fails(f"{CA}.crt is there and was not written by docker-multinode; move it away first")


@pytest.mark.parametrize("theirs", [f"{WANTED.path}.key", f"{CA}.crt"])
def test_a_certificate_that_is_not_ours_is_never_replaced(theirs: str) -> None:
    have = altered(host_files(*pair(CA, CA_PAIR), *pair(WANTED.path, ADMIN)), theirs, ours=False)
    facts = {(HostFiles, "m1"): MASTER, (HostFiles, "w1"): have}
    (step,) = issue(World(workers=["w1"], facts=facts), on="w1")
    assert step == Fails(f"{theirs} is there and was not written by docker-multinode; move it away first")


@pytest.mark.parametrize("key", ["another", "rsa", "encrypted", "no key"])
def test_a_key_that_is_not_the_authoritys_signs_nothing(key: str) -> None:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    plain, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"word")
    put_there = {
        "another": x509.new_authority("etcd").key,
        "rsa": rsa.generate_private_key(65537, 2048).private_bytes(*form, plain).decode(),
        "encrypted": ec.generate_private_key(ec.SECP256R1()).private_bytes(*form, locked).decode(),
        "no key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    with keys(ca=put_there[key]):
        _, step = issue(World(facts={HostFiles: host_files(*pair(CA, CA_PAIR))}))
    assert step == Fails(f"{CA}.key on m1 is not the key of {CA}.crt; put the right one back")


def test_a_key_that_others_can_read_is_mended() -> None:
    here = World(facts={HostFiles: altered(host_files(*pair(CA, CA_PAIR)), f"{CA}.key", mode="644")})
    assert here.run(authorities, names={CA: "kubernetes"}, key_pairs=()) == [
        Shell(f"chown 0:0 {CA}.key; chmod 600 {CA}.key; true")
    ]
    assert f"Will set {CA}.key to 0:0 600" in here.says(authorities, names={CA: "kubernetes"}, key_pairs=())


def test_good_certificates_stay() -> None:
    here = World(facts={HostFiles: MASTER})
    assert issue(here) == []
    assert here.noops == ["1 certificates are good"]


def test_a_missing_certificate_is_issued_by_the_masters_authority() -> None:
    here = World(facts={HostFiles: host_files(*pair(CA, CA_PAIR))})
    with keys(ca=CA_PAIR.key):
        mend, write = issue(here, days=30)
    assert mend == Shell("true")
    files = written(write)
    assert set(files) == {f"{WANTED.path}.key", f"{WANTED.path}.crt"}
    assert x509.why_not(files[f"{WANTED.path}.crt"], WANTED, CA_PAIR.certificate) is None
    lifetime = cx509.load_pem_x509_certificate(files[f"{WANTED.path}.crt"].encode())
    assert lifetime.not_valid_after_utc - lifetime.not_valid_before_utc == dt.timedelta(days=30)


def test_a_certificate_without_its_key_is_issued_anew() -> None:
    here = World(facts={HostFiles: host_files(*pair(CA, CA_PAIR), File(f"{WANTED.path}.crt", ADMIN.certificate))})
    with keys(ca=CA_PAIR.key):
        assert len(issue(here)) == 2


def test_a_workers_certificates_come_with_a_copy_of_the_authority_but_not_its_key() -> None:
    facts = {(HostFiles, "m1"): MASTER, (HostFiles, "w1"): host_files()}
    here = World(workers=["w1"], facts=facts)
    with keys(ca=CA_PAIR.key):
        _, write = issue(here, on="w1")
    files = written(write)
    assert set(files) == {f"{CA}.crt", f"{WANTED.path}.crt", f"{WANTED.path}.key"}
    assert files[f"{CA}.crt"] == CA_PAIR.certificate
    assert CA_PAIR.key not in "".join(files.values())


def test_a_worker_with_another_authority_gets_the_right_one_and_new_certificates() -> None:
    other = x509.new_authority("kubernetes")
    theirs = host_files(File(f"{CA}.crt", other.certificate), *pair(WANTED.path, x509.issue(WANTED, other, 365)))
    here = World(workers=["w1"], facts={(HostFiles, "m1"): MASTER, (HostFiles, "w1"): theirs})
    with keys(ca=CA_PAIR.key):
        _, write = issue(here, on="w1")
    assert set(written(write)) == {f"{CA}.crt", f"{WANTED.path}.crt", f"{WANTED.path}.key"}


def until(days_before: float, days_left: float, authority: Pair = CA_PAIR) -> Pair:
    """A certificate that was issued that many days ago and ends in so many."""
    now = dt.datetime.now(dt.UTC)
    begin, end = now - dt.timedelta(days=days_before), now + dt.timedelta(days=days_left)
    key = x509._new_key()
    ca = cx509.load_pem_x509_certificate(authority.certificate.encode())
    with patch.object(x509, "_new_key", lambda: key):
        text = x509.issue(WANTED, authority, 1)
    made = cx509.load_pem_x509_certificate(text.certificate.encode())
    builder = cx509.CertificateBuilder(
        ca.subject, made.subject, made.public_key(), made.serial_number, begin, end, list(made.extensions)
    )
    signer = serialization.load_pem_private_key(authority.key.encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return Pair(x509._pem(builder.sign(signer, hashes.SHA256())), text.key)


@pytest.mark.parametrize(("before", "left", "says"), [
    (291, 74, None), (294, 71, "because its lifetime ends on "), (365, -1, "because its lifetime ended on "),
])  # fmt: skip
def test_a_certificate_is_issued_anew_in_the_last_fifth_of_its_lifetime(
    before: float, left: float, says: str | None
) -> None:
    here = World(facts={HostFiles: host_files(*pair(CA, CA_PAIR), *pair(WANTED.path, until(before, left)))})
    with keys(ca=CA_PAIR.key):
        assert len(issue(here)) == (2 if says else 0)
    said = here.says(certificates, wanted=[WANTED], authority=here.host("m1"), days=365, renew=False, restart={})
    assert (f"Will issue {WANTED.path}.crt, {says}" in said) if says else "Will" not in said


def test_on_request_a_good_certificate_is_issued_anew_and_gets_a_new_key() -> None:
    here = World(facts={HostFiles: MASTER})
    with keys(ca=CA_PAIR.key):
        _, write = issue(here, renew=True)
    assert set(written(write)) == {f"{WANTED.path}.crt", f"{WANTED.path}.key"}
    assert written(write)[f"{WANTED.path}.key"] != ADMIN.key
    said = here.says(certificates, wanted=[WANTED], authority=here.host("m1"), days=365, renew=True, restart={})
    assert f"Will issue {WANTED.path}.crt, because renew_certificates asks for it:" in said


def test_a_program_that_reads_its_certificate_at_its_start_only_is_restarted_with_the_new_one() -> None:
    once = {WANTED.path: ("bootstrap", "flannel")}
    here = World(facts={HostFiles: MASTER, DaemonsFact: daemons()})
    with keys(ca=CA_PAIR.key):
        _, write = issue(here, renew=True, restart=once)
    assert isinstance(write, Shell)
    assert write.text.endswith("\ndocker -H unix:///run/docker-bootstrap.sock restart -t 5 flannel >/dev/null")
    said = here.says(certificates, wanted=[WANTED], authority=here.host("m1"), days=365, renew=True, restart=once)
    assert "Will restart container flannel on the bootstrap daemon, which reads it at its start only" in said
    # one that is not there, and one that its own phase restarts, for it has not read the one of before either
    runs = replace(running("flannel", None), started=100)
    for found, crt in (
        (daemons("daemons-fresh"), 0),
        (daemons(bootstrap={"containers": {"flannel": runs}}), 101),
    ):
        files = altered(MASTER, f"{WANTED.path}.crt", changed=crt) if crt else MASTER
        here = World(facts={HostFiles: files, DaemonsFact: found})
        with keys(ca=CA_PAIR.key):
            _, write = issue(here, renew=True, restart=once)
        assert isinstance(write, Shell)
        assert "restart" not in write.text


def test_an_authority_that_ended_signs_nothing_and_the_sentence_says_what_is_left_to_do() -> None:
    assert (x509.has_ended(until(9, -1).certificate), x509.has_ended(until(9, 1).certificate)) == (True, False)
    here = World(facts={HostFiles: host_files(*pair(CA, CA_PAIR))})
    with keys(ca=CA_PAIR.key), patch.object(x509, "has_ended", return_value=True):
        *_, last = issue(here)
    assert isinstance(last, Fails)
    assert last.reason.startswith(f"the authority {CA}.crt on m1 has ended and no run replaces it")


def test_a_certificate_does_not_outlive_its_authority() -> None:
    with patch.object(x509, "CA_DAYS", 30):
        young = x509.new_authority("kubernetes")
    assert x509.end_of(x509.issue(WANTED, young, 365).certificate) == x509.end_of(young.certificate)


def test_a_worker_before_its_master_fails_with_what_to_do() -> None:
    here = World(workers=["w1"], facts={HostFiles: host_files()})
    with keys():
        *_, last = issue(here, on="w1")
    assert last == Fails(f"m1 has no {CA}.crt with its key: run deploys/master.py first")


def test_the_plan_of_a_first_run_shows_subject_names_signer_and_lifetime_and_reads_no_key() -> None:
    here = World(workers=["w1"], facts={HostFiles: host_files()})
    with patch.object(module, "pem", side_effect=AssertionError("a key was read for a plan")):
        said = here.says(
            certificates, on="w1", wanted=[WANTED], authority=here.host("m1"), days=365, renew=False, restart={}
        )
    assert f"Will issue {WANTED.path}.crt, which is not there:" in said
    assert "subject: CN=kubernetes-admin, O=admins" in said
    assert "subject alternative names: n1, 10.0.0.1" in said
    assert f"signer: {CA}.crt, usage: client, lifetime: 365 days" in said
    assert f"Will copy {CA}.crt from m1" in said


CLIENT = Certificate("/var/lib/kubelet/pki/kubelet-client-current", CA, "system:node:m1", ("system:nodes",))


def client(world: World) -> list[Step]:
    """Run the operation for the kubelet's certificate."""
    return world.run(kubelet_client, wanted=CLIENT, authority=world.host("m1"), days=365, container="kubelet")


def test_a_kubelet_gets_its_first_certificate_and_the_link_that_it_moves_itself() -> None:
    with keys(ca=CA_PAIR.key):
        start, write, link = client(World(facts={HostFiles: MASTER, DaemonsFact: daemons("daemons-fresh")}))
    assert start == Shell("true")
    assert isinstance(write, Shell)
    ((path, member),) = write.written.items()
    assert path.startswith("/var/lib/kubelet/pki/kubelet-client-20")
    assert member.mode == "600"
    assert member.content.count("-----BEGIN") == 2
    assert link == Shell(f"ln -sfn {path} /var/lib/kubelet/pki/kubelet-client-current.pem")


def test_what_the_kubelet_rotated_by_itself_is_left_alone() -> None:
    rotated = x509.issue(
        Certificate(CLIENT.path, CA, CLIENT.common_name, CLIENT.organizations, ("any.name",)), CA_PAIR, 1
    )
    here = World(facts={HostFiles: Files(MASTER.files, {}, rotated.certificate)})
    assert client(here) == []


@pytest.mark.parametrize("name", ["system:node:other", "system:node:"])
def test_a_kubelets_certificate_of_another_node_is_replaced(name: str) -> None:
    wrong = x509.issue(Certificate(CLIENT.path, CA, name, ("system:nodes",)), CA_PAIR, 365)
    with keys(ca=CA_PAIR.key):
        facts = {HostFiles: Files(MASTER.files, {}, wrong.certificate), DaemonsFact: daemons()}
        *_, link = client(World(facts=facts))
    # it would go on with the one that it read at its start
    assert isinstance(link, Shell)
    assert link.text.endswith(" && docker -H unix:///var/run/docker.sock restart -t 5 kubelet >/dev/null")
