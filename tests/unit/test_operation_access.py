"""Who may do what in etcd: what differs is set, and etcd asks who somebody is only when all that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploys.facts.access import APISERVER, FLANNEL, HEALTH, WANTED, Access, EtcdAccess
from deploys.facts.daemons import DaemonsFact
from deploys.facts.etcd import ETCDCTL
from deploys.operations.access import NOTE, access_limited
from deploys.phases import pki
from deploys.record import PKI

from .harness import Shell, World
from .known import daemons, running
from .samples import edited, lines
from .test_scripts import program, sh

NOBODY = Access(True, False, {}, ())


def commands(have: Access) -> list[str]:
    """What etcdctl is told, in order."""
    steps = World(facts={EtcdAccess: have}).run(access_limited)
    assert all(isinstance(step, Shell) for step in steps)
    said, note, nothing = "".join(s.text for s in steps if isinstance(s, Shell)).partition(f" && {NOTE}")
    assert (note, nothing) == (f" && {NOTE}", "")
    return [w.split(">/dev/null")[0].strip() for w in said.split(ETCDCTL)[1:]]


def test_what_etcd_says_of_a_cluster_is_how_it_should_be() -> None:
    assert EtcdAccess().process(lines("etcd-access")) == WANTED


def test_an_etcd_that_knows_nobody_and_one_that_does_not_answer() -> None:
    silent = edited("etcd-access", dict.fromkeys(("users", "authentication"), ""))
    assert EtcdAccess().process(silent) == replace(NOBODY, answers=False)
    fresh = [line for line in silent if line]
    fresh.insert(fresh.index("== authentication") + 1, "Authentication Status: false")
    assert EtcdAccess().process(fresh) == NOBODY


@pytest.mark.parametrize(
    ("bootstrap", "said"),
    [
        ({"containers": {}}, "+ authentication on"),
        ({"containers": {"etcd": running("etcd", None)}}, "Unknown what each client of etcd may do"),
        ({"containers": {}, "down": True}, "Unknown what each client of etcd may do"),
    ],
    ids=["not-there", "silent", "its-daemon-is-down"],
)
def test_what_is_not_known_of_an_etcd_that_should_answer_is_called_unknown(
    bootstrap: dict[str, Any], said: str
) -> None:
    found = daemons(bootstrap=bootstrap)
    here = World(facts={EtcdAccess: replace(NOBODY, answers=False), DaemonsFact: found})
    assert said in here.says(access_limited)


def test_what_has_not_changed_since_it_was_set_is_not_asked_for_again(tmp_path: Path) -> None:
    program(tmp_path, "etcdctl", 'echo "$*" >> $0.log; case "$*" in "auth status") cat $0.status;; '
            "put*) echo ${3:-} > $0.known;; *--print-value-only*) cat $0.known;; *) echo User: $3;; esac")  # fmt: skip
    (tmp_path / "etcdctl.status").write_text("Authentication Status: true\nAuthRevision: 13\n")
    (tmp_path / "etcdctl.known").touch()
    ask = f'inside() {{ etcdctl "$@"; }}{EtcdAccess.script.partition("inside()")[2].partition("}")[2]}'
    put = NOTE.replace(ETCDCTL, "etcdctl")

    def asked() -> tuple[Access, int]:
        (tmp_path / "etcdctl.log").unlink(missing_ok=True)
        told = EtcdAccess().process(sh(ask, path=str(tmp_path)).stdout.splitlines())
        return told, len((tmp_path / "etcdctl.log").read_text().splitlines())

    assert asked()[1] == 7
    assert sh(put, path=str(tmp_path)).returncode == 0
    assert asked() == (WANTED, 2)
    (tmp_path / "etcdctl.status").write_text("Authentication Status: false\nAuthRevision: 13\n")
    assert asked() == (replace(WANTED, enabled=False), 2)
    (tmp_path / "etcdctl.status").write_text("Authentication Status: true\nAuthRevision: 14\n")
    assert asked()[1] == 7
    (tmp_path / "etcdctl.known").write_text("14 of another version\n")
    assert asked()[1] == 7
    (tmp_path / "etcdctl.status").write_text("")
    assert asked() == (replace(NOBODY, answers=False), 1), "each question to a silent etcd waits for ten seconds"


def test_where_all_is_as_it_should_be_nothing_is_done() -> None:
    here = World(facts={EtcdAccess: WANTED})
    assert here.run(access_limited) == []
    assert here.noops == ["each client of etcd may do what it needs only"]


def test_etcd_asks_who_somebody_is_when_all_users_are_there() -> None:
    said = commands(NOBODY)
    assert said[:3] == [
        "role add flannel",
        "role grant-permission --prefix flannel read /coreos.com/network/",
        "role grant-permission --prefix flannel readwrite /coreos.com/network/subnets/",
    ]
    assert {f"user add --no-password {user}" for user in ("root", APISERVER, HEALTH, FLANNEL)} < set(said)
    grants = {f"user grant-role {user} root" for user in ("root", APISERVER, HEALTH)}
    assert {*grants, "user grant-role flannel flannel"} < set(said)
    assert said[-1] == "auth enable"


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        ({"enabled": False}, ["auth enable"]),
        (
            {"users": {**WANTED.users, FLANNEL: ("flannel", "root")}},
            ["user grant-role flannel flannel", "user revoke-role flannel root"],
        ),
        (
            {"users": {u: r for u, r in WANTED.users.items() if u != FLANNEL}},
            ["user add --no-password flannel", "user grant-role flannel flannel"],
        ),
        (
            {"role": (*WANTED.role, "[/registry/, /registry0) (prefix /registry/)")},
            [
                "role delete flannel",
                "role add flannel",
                "role grant-permission --prefix flannel read /coreos.com/network/",
                "role grant-permission --prefix flannel readwrite /coreos.com/network/subnets/",
                "user grant-role flannel flannel",
            ],
        ),
    ],
)
def test_what_somebody_changed_is_put_back(drift: Mapping[str, object], expected: list[str]) -> None:
    assert commands(replace(WANTED, **drift)) == expected  # type: ignore[arg-type]


def test_the_plan_shows_who_may_do_what_and_what_changes() -> None:
    said = World(facts={EtcdAccess: NOBODY}).says(access_limited)
    for line in ("+ authentication on", "+ user flannel: role flannel", "+ user kube-apiserver-etcd-client: role root"):
        assert line in said
    more = replace(WANTED, users={**WANTED.users, FLANNEL: ("flannel", "root")})
    said = World(facts={EtcdAccess: more}).says(access_limited)
    assert "-user flannel: role flannel, root" in said
    assert "+user flannel: role flannel\n" in said


def test_a_worker_holds_no_certificate_of_etcds_but_flannels() -> None:
    signed = [c for c in pki.wanted(World(workers=["w1"]).node("w1")) if c.signer == pki.ETCD_CA]
    assert [(c.path, c.common_name) for c in signed] == [(f"{PKI}/etcd/flannel-client", FLANNEL)]
