"""What looks like a secret is dropped, however it is written; what a fault is found by stays."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest

from deploys import redaction, x509
from deploys.redaction import MARK, redacted

KEY = x509.new_authority("x").key.strip()
LINES = KEY.splitlines()
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IkEifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"

SECRETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a key": (KEY, tuple(LINES[1:-1])),
    "an RSA key": (KEY.replace("PRIVATE", "RSA PRIVATE"), tuple(LINES[1:-1])),
    "an OpenSSH key": (KEY.replace("PRIVATE", "OPENSSH PRIVATE"), tuple(LINES[1:-1])),
    "a PGP key": (KEY.replace("PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), tuple(LINES[1:-1])),
    "a key in a journal": ("\n".join(f"2026-11-24T07:00:00 h app[1]: {line}" for line in LINES), tuple(LINES[1:-1])),
    "a key with Windows' line ends": (KEY.replace("\n", "\r\n"), tuple(LINES[1:-1])),
    "a key in JSON": ('{"key": "' + KEY.replace("\n", "\\n") + '"}', tuple(LINES[1:-1])),
    "a key without its begin": ("\n".join(LINES[1:]), tuple(LINES[1:-1])),
    "a key without its end": ("\n".join(LINES[:-1]), tuple(LINES[1:-1])),
    "a key in a journal without its begin": ("\n".join(f"h app[1]: {line}" for line in LINES[1:]), tuple(LINES[1:-1])),
    "two keys": (f"{KEY}\nbetween\n{KEY}", tuple(LINES[1:-1])),
    "a kubeconfig": (f"client-key-data: {base64.b64encode(KEY.encode()).decode()}",
                     (base64.b64encode(KEY.encode()).decode()[20:60],)),
    "a token": (JWT, ("c2lnbmF0dXJl", "eyJpc3Mi")),
    "a token that was cut": (JWT[:60], ("eyJ",)),
    "a header": (f"Authorization: Bearer {JWT}", ("eyJ", "c2lnbmF0")),
    "an opaque bearer": ("-H 'authorization: bearer 0123456789abcdef0123'", ("0123456789abcdef",)),
    "basic authentication": ("Authorization: Basic dXNlcjpwYXNz", ("dXNlcjpwYXNz",)),
    "a header in JSON": ('{"Authorization":["Basic dXNlcjpwYXNz"]}', ("dXNlcjpwYXNz",)),
    "a bootstrap token": ("kubeadm join --token abcdef.0123456789abcdef 10.0.0.1:6443", ("0123456789abcdef",)),
    "a bootstrap token in quotes": ('token "abcdef.0123456789abcdef" expired', ("0123456789abcdef",)),
    "password=": ("password=hunter2 and more", ("hunter2", "more")),
    "a password in a variable": ("Environment=MYSQL_ROOT_PASSWORD=hunter2", ("hunter2",)),
    "a password in YAML": ("  dbPassword: 'hunter 2'", ("hunter",)),
    "a password in JSON": ('{"Password": "hunt\\"er2"}', ("hunt", "er2")),
    "a password as a word of a flag": ("app --db-password hunter2 --verbose", ("hunter2",)),
    "a passphrase": ("PASSPHRASE = correct horse", ("correct", "horse")),
    "DB_PASS": ("DB_PASS=hunter2", ("hunter2",)),
    "a secret": ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", ("wJalr", "K7MD")),
    "a client secret": ('{"client_secret":"GOCSPX-abc"}', ("GOCSPX",)),
    "a secret in escaped JSON": ('msg="{\\"client_secret\\":\\"GOCSPX-abc\\"}"', ("GOCSPX",)),
    "a password in escaped JSON": ('msg="{\\"password\\":\\"hunter2\\"}"', ("hunter2",)),
    "a login in escaped JSON": ('{\\"Authorization\\":[\\"Basic dXNlcjpwYXNz\\"]}', ("dXNlcjpwYXNz",)),
    "a token in a query": ("GET /x?access_token=s3cr3t&y=1", ("s3cr3t",)),
    "an API key": ("X-Api-Key: s3cr3t", ("s3cr3t",)),
    "Docker's login": ('{"auths":{"r":{"auth":"dXNlcjpwYXNz"}}}', ("dXNlcjpwYXNz",)),
    "a log driver's token": ('"splunk-token": "s3cr3t"', ("s3cr3t",)),
    "GitHub": ("cloned with ghp_abcdefghijklmnopqrstuvwxyz0123456789", ("ghp_abc",)),
    "AWS": ("as AKIAIOSFODNN7EXAMPLE", ("AKIAIOSF",)),
    "a proxy": ("HTTP_PROXY=http://user:hunter2@proxy.lan:3128/", ("user", "hunter2")),
    "a proxy whose password is hard": ("http://user:p@ss/w:rd@proxy.lan:3128", ("p@ss", "w:rd")),
    "a proxy in quotes": ('"HTTPS_PROXY=https://u:hunter2@proxy.lan"', ("hunter2",)),
    "a URL with a token alone": ("https://s3cr3t@git.lan/x", ("s3cr3t",)),
    "a database": ("postgres://app:hunter2@db:5432/x?sslmode=off", ("hunter2",)),
}  # fmt: skip

KEPT = (
    "docker-pullable://registry.k8s.io/pause@sha256:" + "0" * 64,
    "http://registry.lan:5000/pause@sha256:" + "0" * 64,
    "Image: 10.89.255.1:5000/library/busybox:1.37",
    "- --tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
    "- --service-account-key-file=/etc/kubernetes/pki/sa.pub",
    "HTTP_PROXY=http://proxy.lan:3128",
    "https://10.0.0.11:6443/readyz?verbose",
    '-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment "kube-system/kube-dns:dns cluster IP" -j KUBE-SVC-X',
    "-rw------- 600 0:0 241 2026-11-24 07:00:00.000000000 +0000 /etc/kubernetes/pki/apiserver.key",
    "overlay /var/lib/docker/overlay2/" + "a1" * 32 + "/merged overlay rw,lowerdir=l/ABC:l/DEF 0 0",
    "Nov 24 07:00:00 h dockerd[1]: level=error msg=\"failed to start\" error=\"address already in use\"",
    "PWD=/root",
    'Adding GroupVersion authorization.k8s.io v1, resource="roles.rbac.authorization.k8s.io"',
    "authorization-mode=Node,RBAC",
    "--client-cert-auth=true",
    'Failed to watch: configmaps "x" is forbidden: User "system:anonymous" cannot list',
    "secrets is forbidden; 3 tokens were issued",
    "  subject CN=system:node:n1,O=system:nodes",
    "",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_goes_and_what_is_around_it_stays(name: str) -> None:
    text, pieces = SECRETS[name]
    after = "" if "without its end" in name else "\nthe line after"
    found = redacted(f"the line before\n{text}{after}")
    assert [piece for piece in pieces if piece in found] == []
    assert MARK in found
    assert found.startswith("the line before\n")
    assert found.endswith(after)


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_certificates_are_public() -> None:
    certificate = x509.new_authority("x").certificate
    assert redacted(certificate) == certificate
    assert redacted(certificate + KEY + "\n") == f"{certificate}{MARK}\n"


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_redacted_stays_as_it_is(name: str) -> None:
    once = redacted(SECRETS[name][0])
    assert redacted(once) == once


SLOW = ("eyJ", "LS0tLS1CRUdJTi", "a", "-", "A" * 16 + "\n", '"', "\\", "a=", "u://u:", "u://", "u://x", "password ",
        "token=\"", "--token", "-----BEGIN PRIVATE KEY-----\n", " ")  # fmt: skip


HUNG = 120
"""Seconds after which it hangs: each text takes a part of one, and hours where the work grows with its square."""
ALONE = "import runpy, sys; runpy.run_path(sys.argv[1])['redacted'](sys.stdin.read())"


@pytest.mark.parametrize("piece", SLOW)
def test_a_text_that_was_made_to_take_long_does_not_hang(piece: str) -> None:
    for end in ("", "\n-----END PRIVATE KEY-----"):
        text = piece * (200_000 // len(piece)) + end
        command = (sys.executable, "-c", ALONE, redaction.__file__)
        subprocess.run(command, input=text, text=True, check=True, timeout=HUNG)
