"""What lay on a host before us in places that we use too: it is recorded first, and left by a turndown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploys.facts.files import HostFiles
from deploys.facts.found import Found
from deploys.facts.leftovers import Leftovers
from deploys.facts.platform import Platform
from deploys.operations.files import WRITE, File, archive
from deploys.operations.leftovers import no_directories, no_record
from deploys.record import BOOTSTRAP_UNIT, ETCD_DATA, FILES, KUBELET, KUBERNETES, NODE, RECORD, SUBNET_ENV

from .harness import Shell, World
from .known import host_files, left
from .test_scripts import below, found_below, program, sh, write


def asked(root: Path) -> Found:
    """What the platform fact says of a host whose root is here."""
    script = below(root, Platform().command().get_raw_value())
    return Platform().process([line.replace(str(root), "") for line in sh(script).stdout.splitlines()])


def lies(root: Path, *paths: str) -> None:
    """Make files, with their directories."""
    for path in paths:
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("")


def remaining(root: Path, path: str) -> list[str]:
    """What is left below a path."""
    return sorted(str(p.relative_to(root)) for p in (root / path.lstrip("/")).rglob("*"))


def remove(root: Path, path: str) -> None:
    """Remove a path by the product's own script."""
    here = World(facts={Leftovers: left(paths=frozenset({path})), HostFiles: host_files()})
    (step,) = here.run(no_directories, paths=[path])
    assert isinstance(step, Shell)
    ran = sh(below(root, step.text))
    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_lies_in_the_places_of_any_kubernetes_is_told_where_no_record_is(tmp_path: Path) -> None:
    lies(tmp_path, f"{ETCD_DATA}/default/member/x", "/run/flannel/theirs.env")
    wanted = (f"{ETCD_DATA}", f"{ETCD_DATA}/default", "/run/flannel", "/run/flannel/theirs.env")
    assert sorted(asked(tmp_path).there_before) == sorted(wanted)
    lies(tmp_path, f"{RECORD}/before/paths")
    assert asked(tmp_path).there_before == ()


def test_the_data_of_debians_etcd_outlives_a_purge_of_ours(tmp_path: Path) -> None:
    lies(
        tmp_path, f"{ETCD_DATA}/default/member/x", f"{ETCD_DATA}/member/snap", f"{ETCD_DATA}/before-restore-1/member/x"
    )
    lies(tmp_path, f"{RECORD}/before/paths", f"{RECORD}/files")
    (tmp_path / "var/lib/docker-multinode/before/paths").write_text(
        f"{tmp_path}{ETCD_DATA}\n{tmp_path}{ETCD_DATA}/default\n"
    )
    (tmp_path / "var/lib/docker-multinode/files").write_text(f"{tmp_path}/etc/kubernetes/pki/etcd/ca.key\n")
    assert ETCD_DATA in found_below(tmp_path).paths
    remove(tmp_path, ETCD_DATA)
    data = ETCD_DATA.lstrip("/")
    assert remaining(tmp_path, ETCD_DATA) == [f"{data}/default", f"{data}/default/member", f"{data}/default/member/x"]
    assert ETCD_DATA not in found_below(tmp_path).paths, "the next plan is empty"


def test_a_directory_of_ours_goes_as_a_whole(tmp_path: Path) -> None:
    lies(tmp_path, f"{ETCD_DATA}/member/snap")
    remove(tmp_path, ETCD_DATA)
    assert not (tmp_path / ETCD_DATA.lstrip("/")).exists()


UMOUNT = r"""[ "$1" != -l ] || shift
p=$(printf '%s' "$1" | sed 's/\\/\\134/g; s/ /\\040/g'); printf '%s\n' "$1" >> ROOT/unmounted
grep -vF " $p " ROOT/mountinfo > ROOT/left; cat ROOT/left > ROOT/mountinfo"""
"""A umount that knows no mounts but those in a file, written there as the kernel writes them."""


def mounted(root: Path, *mounts: str, umount: str = UMOUNT) -> None:
    """Say that something is mounted at these paths."""
    names = (f"{root}{mount}".replace("\\", r"\134").replace(" ", r"\040") for mount in mounts)
    (root / "mountinfo").write_text("".join(f"36 35 98:0 /x {name} rw shared:1 - ext4 /dev/x rw\n" for name in names))
    program(root / "bin", "umount", umount.replace("ROOT", str(root)))


def with_mounts(root: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script below the root, with the mounts that are said to be there."""
    return sh(below(root, script).replace("/proc/self/mountinfo", f"{root}/mountinfo"), path=str(root / "bin"))


def taken_away(root: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    """Remove paths by the product's own script, with the mounts that are said to be there."""
    here = World(facts={Leftovers: left(paths=frozenset(paths)), HostFiles: host_files()})
    (step,) = here.run(no_directories, paths=paths)
    assert isinstance(step, Shell)
    return with_mounts(root, step.text)


def mounts_found(root: Path) -> tuple[str, ...]:
    """Mounts that the fact names."""
    for name in ("ip", "iptables-save", "ip6tables-save"):
        program(root / "bin", name, "true")
    ran = with_mounts(root, Leftovers().command().get_raw_value())
    return Leftovers().process([line.replace(str(root), "") for line in ran.stdout.splitlines()]).mounts


DISK = "/my disk\\1/kubelet"


def linked(root: Path, *before: str) -> Path:
    """A node whose directory of the kubelet is a link to another disk; these paths were there before us."""
    lies(root, f"{DISK}/pods/1/token", f"{DISK}/theirs/x", "/data/x", f"{RECORD}/node.json", f"{RECORD}/before/paths")
    (root / f"{RECORD}/before/paths".lstrip("/")).write_text("".join(f"{root}{path}\n" for path in before))
    (root / DISK.lstrip("/") / "link").symlink_to(root / "data")
    link = root / KUBELET.lstrip("/")
    link.symlink_to(root / DISK.lstrip("/"))
    return link


@pytest.mark.parametrize("linked", [False, True])
def test_the_record_goes_also_behind_a_link_but_nothing_that_is_mounted_in_it(linked: bool, tmp_path: Path) -> None:
    record = tmp_path / RECORD.lstrip("/")
    place = tmp_path / "data/own" if linked else record
    place.mkdir(parents=True)
    (place / "backups").mkdir()
    (place / "key").touch()
    if linked:
        record.parent.mkdir(parents=True)
        record.symlink_to(place)
    share = f"{place}/backups".removeprefix(str(tmp_path))
    mounted(tmp_path, share, umount="touch ROOT/unmounted; : > ROOT/mountinfo")
    (step,) = World(facts={Leftovers: left()}).run(no_record)
    assert isinstance(step, Shell)
    ran = with_mounts(tmp_path, step.text)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "unmounted").exists()
    assert (record.is_symlink(), record.exists(), place.exists()) == (False, False, False)


def test_a_record_in_which_something_can_not_be_unmounted_stays(tmp_path: Path) -> None:
    lies(tmp_path, f"{RECORD}/backups/theirs.tar.gz")
    mounted(tmp_path, f"{RECORD}/backups", umount="exit 1")
    (step,) = World(facts={Leftovers: left()}).run(no_record)
    assert isinstance(step, Shell)
    ran = with_mounts(tmp_path, step.text)
    assert ran.returncode == 1
    assert "can't be unmounted; do that by hand and run again" in ran.stderr
    assert (tmp_path / f"{RECORD}/backups/theirs.tar.gz".lstrip("/")).exists()


def test_below_a_link_from_before_us_what_is_mounted_is_named_and_unmounted_first(tmp_path: Path) -> None:
    link = linked(tmp_path, KUBELET, f"{KUBELET}/theirs")
    mounted(tmp_path, DISK, f"{DISK}/pods/1", f"{DISK}/pods/1/token", f"{DISK}/theirs/x", f"{DISK}2/x", "/data/x")
    pods = ("/pods/1", "/pods/1/token")
    assert mounts_found(tmp_path) == (*(f"{KUBELET}{pod}" for pod in pods), f"{KUBELET}/theirs/x")
    ran = taken_away(tmp_path, KUBELET)
    assert (ran.returncode, ran.stderr) == (0, "")
    unmounted = (tmp_path / "unmounted").read_text().splitlines()
    assert unmounted == [f"{tmp_path}{DISK}{pod}" for pod in reversed(pods)]
    assert link.is_symlink()
    assert sorted(path.name for path in link.iterdir()) == ["theirs"]
    assert (tmp_path / "data/x").exists()


def test_a_link_that_came_after_us_goes_without_what_it_leads_to(tmp_path: Path) -> None:
    link = linked(tmp_path)
    mounted(tmp_path, f"{DISK}/pods/1")
    assert mounts_found(tmp_path) == ()
    ran = taken_away(tmp_path, KUBELET)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not link.is_symlink()
    assert (tmp_path / DISK.lstrip("/") / "pods/1/token").exists()
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("before", [(), (KUBELET,)])
def test_what_can_not_be_unmounted_is_not_removed_and_the_removal_fails(
    tmp_path: Path, before: tuple[str, ...]
) -> None:
    lies(tmp_path, f"{KUBELET}/pods/1/x", f"{RECORD}/before/paths", "/run/flannel/y")
    (tmp_path / f"{RECORD}/before/paths".lstrip("/")).write_text("".join(f"{tmp_path}{path}\n" for path in before))
    mounted(tmp_path, f"{KUBELET}/pods/1", umount="exit 32")
    ran = taken_away(tmp_path, KUBELET, "/run/flannel")
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        f"{tmp_path}{KUBELET}{'/pods' if before else ''} stays, for these can't be unmounted; "
        "do that by hand and run again:",
        f"{tmp_path}{KUBELET}/pods/1",
    ]
    assert (tmp_path / f"{KUBELET}/pods/1/x".lstrip("/")).exists()


def test_another_kubernetes_is_told_by_its_files_and_not_by_what_a_reset_leaves(tmp_path: Path) -> None:
    for directory in (f"{KUBERNETES}/manifests", f"{KUBELET}/pki"):
        (tmp_path / directory.lstrip("/")).mkdir(parents=True)
    assert asked(tmp_path).foreign_kubernetes == ()
    lies(tmp_path, f"{KUBELET}/config.yaml")
    assert asked(tmp_path).foreign_kubernetes == (f"{KUBELET}/config.yaml",)
    lies(tmp_path, f"{KUBERNETES}/pki/etcd/ca.crt")
    assert asked(tmp_path).foreign_kubernetes[0] == f"{KUBERNETES}/pki/etcd/ca.crt"


AUTHORITY = f"{KUBERNETES}/pki/ca.crt"


def recorded(root: Path, *paths: str) -> None:
    """Write the record's list of files."""
    lies(root, FILES)
    (root / FILES.lstrip("/")).write_text("".join(f"{root}{path}\n" for path in paths))


def test_what_a_turndown_keeps_is_no_other_kubernetes_and_one_that_came_after_it_is(tmp_path: Path) -> None:
    lies(tmp_path, AUTHORITY)
    recorded(tmp_path, AUTHORITY, SUBNET_ENV)
    assert asked(tmp_path).foreign_kubernetes == ()
    lies(tmp_path, f"{KUBERNETES}/kubelet.conf", f"{KUBELET}/config.yaml")
    assert asked(tmp_path).foreign_kubernetes == (f"{KUBERNETES}/kubelet.conf", f"{KUBELET}/config.yaml")


def test_a_node_is_no_other_kubernetes_also_where_its_damaged_node_json_was_removed(tmp_path: Path) -> None:
    lies(tmp_path, f"{KUBELET}/cpu_manager_state", f"{KUBERNETES}/manifests/theirs.yaml")
    recorded(tmp_path, BOOTSTRAP_UNIT)
    assert asked(tmp_path).foreign_kubernetes == ()
    recorded(tmp_path)
    assert len(asked(tmp_path).foreign_kubernetes) == 2
    lies(tmp_path, NODE)
    assert asked(tmp_path).foreign_kubernetes == ()


def test_a_link_that_was_there_before_us_is_not_ours(tmp_path: Path) -> None:
    lies(tmp_path, f"{RECORD}/node.json", f"{RECORD}/before/paths")
    assert "flannel.1" in found_below(tmp_path).links
    (tmp_path / "var/lib/docker-multinode/before/paths").write_text("/sys/class/net/flannel.1\n")
    assert "flannel.1" not in found_below(tmp_path).links


@pytest.mark.skipif(os.geteuid() != 0, reason="chown 0:0 needs root")
def test_what_a_power_cut_left_half_written_is_swept_by_the_next_write(tmp_path: Path) -> None:
    lies(tmp_path, f"{RECORD}/.new.1/etc/kubernetes/pki/ca.key", f"{RECORD}/.new.1.list", f"{RECORD}/.laid.2/x.key",
         f"{RECORD}/.restore.3/snapshot.db", f"{RECORD}/backups/.new.4")  # fmt: skip
    write(tmp_path, File("/etc/x", "1"))
    place = RECORD.lstrip("/")
    assert remaining(tmp_path, RECORD) == [f"{place}/backups", f"{place}/backups/.new.4", f"{place}/directories",
                                           f"{place}/files"]  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="chown 0:0 needs root")
def test_a_write_that_lays_an_archive_leaves_what_it_reads_alone(tmp_path: Path) -> None:
    lies(tmp_path, f"{RECORD}/.laid.2/x.key")
    script = f"laid={tmp_path}{RECORD}/.laid.2; {below(tmp_path, WRITE.strip())}"
    assert sh(script, archive([File(f"{tmp_path}/etc/x", "1")])).returncode == 0
    assert (tmp_path / f"{RECORD}/.laid.2/x.key".lstrip("/")).exists()


def test_routes_into_the_pod_network_by_other_nodes_are_ours_and_others_are_not(tmp_path: Path) -> None:
    lies(tmp_path, f"{RECORD}/node.json")
    (tmp_path / f"{RECORD}/subnet.env".lstrip("/")).write_text("FLANNEL_NETWORK=10.1.0.0/16\n")
    routes = ("10.1.1.0/24 dev docker0 proto kernel", "10.1.2.0/24 via 10.0.0.12 dev eth0 ",
              "10.1.3.0/24 via 10.1.3.0 dev flannel.1 onlink")  # fmt: skip
    place = tmp_path / "bin"
    program(place, "ip", f'[ "$2" != route ] || printf "%s\\n" {" ".join(repr(r) for r in routes)}')
    for name in ("iptables-save", "ip6tables-save"):
        program(place, name, "true")
    ran = sh(below(tmp_path, Leftovers().command().get_raw_value()), path=str(place))
    assert Leftovers().process(ran.stdout.splitlines()).routes == ("10.1.2.0/24 via 10.0.0.12 dev eth0",)
