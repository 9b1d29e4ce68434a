"""Certificates: authorities are made on the first master alone, and outlive a turndown that keeps the data."""

from __future__ import annotations

import pytest

from deploys.facts.files import HostFiles
from deploys.operations.files import File
from deploys.phases import pki
from deploys.record import PKI

from .harness import World, called
from .known import host_files

AUTHORITIES = [f"{PKI}/{name}.{ending}" for name in ("ca", "etcd/ca", "front-proxy-ca") for ending in ("crt", "key")]
ACCOUNTS = [f"{PKI}/sa.pub", f"{PKI}/sa.key"]
LEAVES = [f"{PKI}/apiserver.crt", f"{PKI}/apiserver.key", f"{PKI}/etcd/flannel-client.crt"]


def removed(here: World) -> set[str]:
    """The files that go."""
    ((name, arguments),) = called(pki, here, removal=True)
    assert name == "no_files"
    return set(arguments["paths"])


def test_the_first_master_makes_authorities_and_every_node_gets_what_it_needs() -> None:
    here = World(workers=["w1"], data={"certificate_days": 90, "renew_certificates": True})
    authorities, issued = called(pki, here)
    assert authorities[0] == "authorities"
    assert set(authorities[1]["names"]) == {f"{PKI}/{name}" for name in ("ca", "etcd/ca", "front-proxy-ca")}
    assert authorities[1]["key_pairs"] == (f"{PKI}/sa",)
    asked = {"authority": here.host("m1"), "days": 90, "renew": True}
    assert issued[0] == "certificates"
    assert {key: issued[1][key] for key in asked} == asked
    ((name, arguments),) = called(pki, here, "w1")
    assert (name, arguments["authority"]) == ("certificates", here.host("m1"))


def test_a_worker_gets_three_certificates_and_none_that_lets_it_do_more_than_a_node() -> None:
    here = World(workers=["w1"])
    ((_, arguments),) = called(pki, here, "w1")
    found = {c.path: (c.signer, c.common_name, c.organizations) for c in arguments["wanted"]}
    assert found == {
        f"{PKI}/etcd/flannel-client": (f"{PKI}/etcd/ca", "flannel", ("w1",)),
        f"{PKI}/kubelet": (f"{PKI}/ca", "system:node:w1", ("system:nodes",)),
        f"{PKI}/kube-proxy/client": (f"{PKI}/ca", "system:kube-proxy", ()),
    }


def test_authorities_stay_with_the_data_and_go_with_it() -> None:
    files = host_files(*(File(path, "x") for path in (*AUTHORITIES, *ACCOUNTS, *LEAVES)))
    assert removed(World(facts={HostFiles: files})) == set(LEAVES)
    purged = World(facts={HostFiles: files}, data={"purge_data": True})
    assert removed(purged) == {*AUTHORITIES, *ACCOUNTS, *LEAVES}


@pytest.mark.parametrize("lost", [path for path in AUTHORITIES if path.endswith(".key")])
def test_authorities_stay_also_where_one_of_their_keys_is_gone(lost: str) -> None:
    files = host_files(*(File(path, "x") for path in (*AUTHORITIES, *ACCOUNTS, *LEAVES) if path != lost))
    assert removed(World(facts={HostFiles: files})) == set(LEAVES)


def test_what_a_worker_has_of_the_authorities_goes_with_it() -> None:
    copies = [f"{PKI}/ca.crt", f"{PKI}/etcd/ca.crt"]
    files = host_files(*(File(path, "x") for path in (*copies, *LEAVES)))
    assert removed(World(facts={HostFiles: files})) == {*copies, *LEAVES}
