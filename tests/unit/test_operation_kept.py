"""What a turndown leaves is said with the reason, and nothing is changed for it."""

from __future__ import annotations

from dataclasses import replace

from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel
from deploys.facts.leftovers import Leftovers
from deploys.operations.files import NEW, File
from deploys.operations.kept import kept
from deploys.record import ETCD_DATA, PKI, RECORD, SUBNET_ENV

from .harness import World
from .known import host_files, left
from .samples import lines

CA_KEY = f"{PKI}/etcd/ca.key"
FOREIGN = "/etc/kubernetes/theirs.conf"


def world() -> World:
    """A master whose etcd has data, beside a foreign file; br_netfilter was not loaded before."""
    # the last is what a power cut leaves: it goes with the removal of files
    others = (FOREIGN, f"{RECORD}/before/kernel", f"{PKI}/{NEW}")
    files = host_files(File(CA_KEY, "", secret=True), File(SUBNET_ENV, ""), foreign=others)
    kernel = replace(
        Kernel().process(lines("kernel-master")),
        modules=frozenset({"br_netfilter", "vxlan"}),
        before={"module br_netfilter": "absent", "module vxlan": "loaded"},
    )
    found = left(paths=frozenset({ETCD_DATA}), backups=(f"{RECORD}/backups/a", f"{RECORD}/backups/b"))
    return World(facts={HostFiles: files, Kernel: kernel, Leftovers: found})


def test_data_is_named_with_the_reason_and_the_way_to_remove_it() -> None:
    here = world()
    said = here.says(kept, data=(CA_KEY,), purge=False)
    for words in (ETCD_DATA, CA_KEY, SUBNET_ENV, ": 2 backups", "purge_data=true removes these too"):
        assert words in said
    assert here.run(kept, data=(CA_KEY,), purge=False) == []


def test_a_purge_leaves_only_what_is_not_ours_and_modules() -> None:
    said = world().says(kept, data=(CA_KEY,), purge=True)
    assert said.splitlines()[1:] == [
        f"      {FOREIGN}: not written by docker-multinode",
        "      kernel module br_netfilter: others may use it by now; it is not loaded at the next boot",
    ]


def test_where_nothing_stays_nothing_is_said() -> None:
    fresh = {HostFiles: host_files(), Kernel: Kernel().process(lines("kernel-fresh")), Leftovers: left(paths=())}
    assert World(facts=fresh).says(kept, data=(CA_KEY,), purge=False) == ""
