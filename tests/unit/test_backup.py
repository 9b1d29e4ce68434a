"""Backups: what is taken, which archive is refused, and that a restore stops nothing before it can succeed."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from pyinfra.api import DeployError, StringCommand

from deploys import restoring, static_pods, transfer
from deploys.facts.backups import Backup, BackupFile, local_backup
from deploys.facts.daemons import DaemonsFact
from deploys.facts.files import HostFiles
from deploys.facts.leftovers import Leftovers
from deploys.operations.backups import about as said_of
from deploys.operations.backups import backup_taken
from deploys.operations.files import File
from deploys.operations.leftovers import no_record
from deploys.operations.restore import (
    EXCHANGE,
    LAY,
    authorities_restored,
    backup_sent,
    bump,
    etcd_restored,
    flannel_restarted,
)
from deploys.phases import control_plane, pki
from deploys.record import BACKUPS, ETCD_DATA, RECORD, SUBNET_ENV

from . import machines
from .harness import Calls, Fails, Shell, World
from .known import daemons, host_files, left, running
from .samples import lines
from .test_scripts import below, needs_root, record, sh

AUTHORITIES = pki.authority_files()
INSTALLED = host_files(
    *(File(path, "x", "600", secret=path.endswith(".key")) for path in AUTHORITIES), File(SUBNET_ENV, "x")
)
GOOD = BackupFile().process(lines("backup"))
PATH = f"{BACKUPS}/m1-20261124T080000Z.tar.gz"


def world(**facts: Any) -> World:
    """A master that runs, or what is said otherwise."""
    known = {"HostFiles": INSTALLED, "DaemonsFact": daemons(), "BackupFile": GOOD, "Leftovers": left(), **facts}
    classes = {c.__name__: c for c in (HostFiles, DaemonsFact, BackupFile, Leftovers)}
    return World(facts={classes[name]: value for name, value in known.items()})


def take(here: World, copy: Path | str | None = None) -> list[object]:
    """The commands of a backup."""
    node = here.node()
    return [*here.run(backup_taken, node=node, authorities=AUTHORITIES, copy=str(copy) if copy else None)]


# ---- taking one


def test_a_snapshot_is_saved_verified_packed_and_looked_at() -> None:
    first, second = take(world())
    assert isinstance(first, Shell)
    assert first.stdin is None
    words = ["snapshot save", "snapshot status", "tar -czf", 'mv "$new/archive" "$name"']
    assert [first.text.index(word) for word in words] == sorted(first.text.index(word) for word in words)
    assert "umask 077" in first.text
    assert all(f" {path.lstrip('/')}" in first.text for path in (*AUTHORITIES, SUBNET_ENV))
    assert isinstance(second, Calls)
    (path,) = second.arguments
    assert re.fullmatch(rf"{BACKUPS}/m1-\d{{8}}T\d{{6}}Z\.tar\.gz", path)
    assert path in first.text


def test_what_the_archive_says_of_itself_is_what_the_fact_reads() -> None:
    (first, _) = take(world())
    assert isinstance(first, Shell)
    said = json.loads(first.text[first.text.index("{") : first.text.index("}}") + 2])
    assert said.pop("taken")
    assert said == {key: value for key, value in GOOD.about.items() if key != "taken"}
    assert GOOD.ours
    assert "revision 1482, 1560 keys" in GOOD.described()


def test_an_archive_is_of_the_cluster_as_it_is_not_as_this_run_is_set() -> None:
    record = {"name": "m0", "role": "master", "address": "10.0.0.9", "kubernetes": "v1.37.0",
              "service_network": "10.222.0.0/16", "dns_server_ip": "10.222.0.53"}  # fmt: skip
    found = machines.found("m1", "10.0.0.11", record=record, subnet__env="FLANNEL_NETWORK=10.200.0.0/16")
    said = json.loads(said_of(World(platforms={"m1": found}).node(), INSTALLED, (), "now"))
    assert {key: said[key] for key in ("node", *list(record)[2:])} == {
        "node": "m0", **{key: record[key] for key in list(record)[2:]}}  # fmt: skip
    assert said["network"] == "10.200.0.0/16"


def test_the_plan_names_every_file_that_is_in_it() -> None:
    here = world()
    said = here.says(backup_taken, node=here.node(), authorities=AUTHORITIES)
    assert "(mode 600)" in said
    assert all(path in said for path in (*AUTHORITIES, SUBNET_ENV))
    assert "this machine" not in said


def test_without_etcd_or_authorities_there_is_nothing_to_take() -> None:
    fresh, stopped = (
        daemons("daemons-fresh"),
        daemons(bootstrap={"containers": {"etcd": running("etcd", None, runs=False)}}),
    )
    for there in ({"DaemonsFact": fresh}, {"DaemonsFact": stopped}, {"HostFiles": host_files()}):
        (step,) = take(world(**there))
        assert isinstance(step, Fails)
        assert "run deploys/master.py first" in step.reason


def test_a_copy_is_a_new_file_or_one_in_a_directory_and_never_over_another(tmp_path: Path) -> None:
    copied = take(world(), tmp_path / "new.tar.gz")[-1]
    assert isinstance(copied, Calls)
    assert copied.arguments[1] == tmp_path / "new.tar.gz"
    inside = take(world(), tmp_path)[-1]
    assert isinstance(inside, Calls)
    assert inside.arguments[1] == tmp_path / inside.arguments[0].rsplit("/", 1)[1]
    (tmp_path / "there").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, why in (
        ("there", "is not overwritten"),
        ("link", "is not overwritten"),
        ("no/such/x", "is no directory"),
        ("backups/", "backups is no directory"),  # it would be a file of that name otherwise
        ("n" * 300 + "/x", "is no directory"),  # of a name that can't be looked for
    ):
        (step,) = take(world(), f"{tmp_path}/{name}")
        assert isinstance(step, Fails)
        assert why in step.reason
    here = world()
    said = here.says(backup_taken, node=here.node(), authorities=AUTHORITIES, copy=str(tmp_path / "new"))
    assert f"Will copy it to {tmp_path / 'new'} on this machine (mode 600): it holds the authorities' keys" in said


# ---- the way between the machines


@pytest.fixture
def local() -> Any:
    """Commands for a host run here."""

    def run(_: object, command: str, stdin: str | None = None) -> tuple[bool, str, str]:
        ran = subprocess.run(["sh", "-c", command], input=stdin, capture_output=True, text=True)
        return ran.returncode == 0, ran.stdout.rstrip("\n"), ran.stderr

    with patch.object(transfer, "run", run), patch.object(transfer, "PIECE", 3000):
        yield SimpleNamespace(name="m1")


@pytest.mark.parametrize("size", [0, 1, 2999, 3000, 3001, 10_000])
def test_a_file_goes_there_and_back_and_is_its_owners_only(size: int, tmp_path: Path, local: Any) -> None:
    data = bytes(n * 7 % 256 for n in range(size))
    (tmp_path / "a").write_bytes(data)
    transfer.send(local, tmp_path / "a", str(tmp_path / "host dir/b"))
    transfer.fetch(local, str(tmp_path / "host dir/b"), tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == data
    for path in (tmp_path / "c", tmp_path / "host dir/b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "c", "host dir"]
    assert [p.name for p in (tmp_path / "host dir").iterdir()] == ["b"]


def test_nothing_is_left_of_a_file_that_did_not_arrive_whole(tmp_path: Path, local: Any) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5000)
    as_it_is = transfer.run
    broken = lambda host, command, stdin=None: as_it_is(host, command, stdin and stdin[:-4])  # noqa: E731
    with patch.object(transfer, "run", broken), pytest.raises(OSError, match="did not arrive whole"):
        transfer.send(local, tmp_path / "a", str(tmp_path / "b"))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path, local: Any) -> None:
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    with pytest.raises(FileExistsError):
        transfer.fetch(local, str(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "b").read_text() == "old"
    with pytest.raises(OSError, match="No such file"):
        transfer.fetch(local, str(tmp_path / "none"), tmp_path / "c")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


# ---- which archive


def chosen(value: str | None, **facts: Any) -> restoring.Archive:
    """The archive that a value of restore_from means."""
    here = world(**facts)
    here.inventory.override_data = {}
    node = here.node()
    with here.on():
        return restoring.archive_of(replace(node, settings=replace(node.settings, restore_from=value)))


def refused(value: str | None = PATH, **facts: Any) -> str:
    """The sentence with which it is refused."""
    with pytest.raises(DeployError) as error:
        chosen(value, **facts)
    return str(error.value)


def pack(place: Path, about: dict[str, Any] | str, names: tuple[str, ...]) -> None:
    """An archive on the control machine."""
    texts = {"backup.json": about if isinstance(about, str) else json.dumps(about), "status.json": "{}"}
    with tarfile.open(place, "w:gz") as tar:
        for name in names:
            data = texts.get(name, "x").encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_an_archive_on_the_master_comes_before_one_on_the_control_machine(tmp_path: Path) -> None:
    place = tmp_path / "a.tar.gz"
    pack(place, GOOD.about, tuple(GOOD.members))
    assert chosen(PATH) == restoring.Archive(PATH, None, GOOD)
    found = chosen(str(place), BackupFile=Backup(False))
    assert (found.path, found.place, found.backup.ours) == (PATH, place, True)


def test_no_archive_is_refused_with_the_ones_that_there_are() -> None:
    there = Backup(False, others=(PATH,))
    assert f"restore_from names no backup; write --data restore_from=PATH; on m1 there are {PATH}" in refused(
        None, BackupFile=there
    )
    assert f"neither there nor on this machine; on m1 there are {PATH}" in refused("/none", BackupFile=there)


def test_an_archive_of_someone_else_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    whole = lines("backup")
    for cut in ("== whole", "snapshot.db", "backup.json"):
        found = BackupFile().process([line for line in whole if line != cut])
        assert "is not a backup of deploys/backup.py, or it is damaged" in refused(BackupFile=found)
    pack(tmp_path / "whole", GOOD.about, tuple(GOOD.members))
    data = (tmp_path / "whole").read_bytes()
    for name, content in (
        ("cut", data[:-20]),
        ("flipped", data[:-6] + b"!" + data[-5:]),
        ("text", b"hello"),
        ("empty", b""),
    ):
        (tmp_path / name).write_bytes(content)
        assert local_backup(tmp_path / name) == Backup(True)
    for about in (
        "",
        "[]",
        "{}",
        "[" * 9999,
        json.dumps({**GOOD.about, "authorities": 7}),
        json.dumps({**GOOD.about, "taken": "../x"}),
    ):
        pack(tmp_path / "strange", about, tuple(GOOD.members))
        assert not local_backup(tmp_path / "strange").ours
    for target in ("nowhere", "backup.json"):
        with tarfile.open(tmp_path / "links", "w:gz") as tar:
            link = tarfile.TarInfo("backup.json")
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        assert not local_backup(tmp_path / "links").ours


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("node", "m2", "the node m2, here it is m1; set node_name"),
        ("address", "10.0.0.99", "the address 10.0.0.99, here it is 10.0.0.11"),
        ("network", "10.9.0.0/16", "set flannel_network"),
        ("service_network", "10.9.0.0/16", "set service_network"),
        ("dns_server_ip", "10.96.0.53", "set dns_server_ip"),
        ("kubernetes", "v1.36.1", "set k8s_version to a v1.36 version"),
        ("kubernetes", None, "is of Kubernetes None"),
        ("authorities", {}, "is of another cluster: its /etc/kubernetes/pki/ca.crt is another"),
    ],
)
def test_an_archive_of_another_cluster_is_refused(key: str, value: object, says: str) -> None:
    assert says in refused(BackupFile=replace(GOOD, about={**GOOD.about, key: value}))


def test_an_archive_that_a_purge_would_take_is_to_be_copied_before(tmp_path: Path) -> None:
    other = replace(GOOD, about={**GOOD.about, "authorities": {}})
    copy = f"first copy the archive to a place outside of {RECORD}, then turn this one down with purge_data=true"
    assert copy in refused(BackupFile=other)
    place = tmp_path / "a.tar.gz"
    pack(place, other.about, tuple(GOOD.members))
    assert "first turn this one down" in refused(str(place), BackupFile=Backup(False))
    assert "first turn this one down" in refused("/root/a.tar.gz", BackupFile=other)


@pytest.mark.parametrize(("megabytes", "free", "fits"), [(100, 327, False), (100, 328, True), (None, 128, True)])
def test_a_backup_for_which_there_is_no_room_is_refused(megabytes: int | None, free: int, fits: bool) -> None:
    status = {**GOOD.status, "totalSize": megabytes and megabytes << 20}
    disk = "\n".join(f"7 9000000 {free * 1024} 9 9000 {place}" for place in (RECORD, ETCD_DATA))
    here = world(BackupFile=replace(GOOD, status=status))
    here.platforms["m1"] = machines.found("m1", "10.0.0.11", disks=disk)
    node = here.node()
    target = replace(node, settings=replace(node.settings, restore_from=PATH))
    with here.on():
        if fits:
            assert restoring.archive_of(target).path == PATH
            return
        with pytest.raises(DeployError, match=f"{RECORD} and {ETCD_DATA} has 327 MiB free; that needs 328 there"):
            restoring.archive_of(target)


def test_a_backup_begins_where_there_is_room_for_it(tmp_path: Path) -> None:
    database = tmp_path / "etcd/member/snap/db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"x")
    first = take(world())[0]
    assert isinstance(first, Shell)
    begin = first.text[: first.text.index("new=$(mktemp")].replace(BACKUPS, f"{tmp_path}/b")
    begin = begin.replace(ETCD_DATA, str(database.parents[2]))
    assert sh(begin).returncode == 0
    with database.open("r+b") as file:
        file.truncate(1 << 43)  # a hole of more than any disk here
    said = sh(begin)
    assert said.returncode == 1
    assert re.search(r"b has \d+ MiB free; a backup needs 16777280 there", said.stderr)


def test_an_archive_that_does_not_say_the_addresses_of_services_is_taken() -> None:
    about = {key: value for key, value in GOOD.about.items() if key not in ("service_network", "dns_server_ip")}
    assert chosen(PATH, BackupFile=replace(GOOD, about=about)).path == PATH


def test_an_archive_without_an_authority_is_refused_and_a_new_machine_takes_any_authority() -> None:
    key = "etc/kubernetes/pki/sa.key"
    assert f"/{key} is not in it" in refused(BackupFile=replace(GOOD, members=GOOD.members - {key}))
    other = replace(GOOD, about={**GOOD.about, "authorities": {}})
    assert chosen(PATH, BackupFile=other, HostFiles=host_files()).path == PATH


def test_an_etcd_without_its_authority_may_be_restored() -> None:
    names = {check.__name__ for check in restoring.preflight.CHECKS}
    left_out = names - {check.__name__ for check in restoring.preflight.RESTORE_CHECKS}
    assert left_out == {"etcd_has_its_authority", "master_is_theirs"}


# ---- putting it back


def test_an_archive_is_sent_where_it_is_not_on_the_host(tmp_path: Path) -> None:
    assert world().run(backup_sent, place=None, path=PATH, backup=GOOD) == []
    assert world().run(backup_sent, place=tmp_path, path=PATH, backup=GOOD) == []
    for other in (Backup(False), Backup(True), replace(GOOD, status={**GOOD.status, "hash": 1})):
        steps = world(BackupFile=other).run(backup_sent, place=tmp_path, path=PATH, backup=GOOD)
        assert steps == [Calls("_send", (tmp_path, PATH))]


def test_revisions_never_come_again_however_often_a_snapshot_is_restored() -> None:
    first = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    begins = [1482 + bump(1482, first + dt.timedelta(hours=hour)) for hour in range(3)]
    assert begins[1] - begins[0] == begins[2] - begins[1] == 3_600_000
    later = first + dt.timedelta(hours=1)
    assert begins[2] + 5 + bump(begins[2] + 5, later) > begins[2] + 5  # of a restored etcd, by a clock that went back
    assert bump(None, first) > 1_000_000_000


def test_only_authorities_that_are_missing_are_taken_and_they_are_recorded() -> None:
    assert world().run(authorities_restored, path=PATH, members=AUTHORITIES) == []
    (step,) = world(HostFiles=host_files(File(AUTHORITIES[0], "x"))).run(
        authorities_restored, path=PATH, members=AUTHORITIES
    )
    assert isinstance(step, Shell)
    assert step.text.startswith(f"set -- {PATH} {' '.join(p.lstrip('/') for p in AUTHORITIES[1:])}; ")
    assert f"{RECORD}/files" in step.text
    (step,) = world(HostFiles=host_files(foreign=AUTHORITIES[:1])).run(
        authorities_restored, path=PATH, members=AUTHORITIES
    )
    assert isinstance(step, Fails)
    assert f"{AUTHORITIES[0]} is there and was not written by docker-multinode" in step.reason


def restored(here: World) -> list[str]:
    """The commands of a restore."""
    steps = here.run(
        etcd_restored, node=here.node(), path=PATH, backup=GOOD, image="r/etcd:1", pods=("a", "b"), stamp="S"
    )
    assert all(isinstance(step, Shell) and step.stdin is None for step in steps)
    return [step.text for step in steps if isinstance(step, Shell)]


def test_nothing_is_stopped_before_the_snapshot_is_unpacked_and_the_present_data_is_kept() -> None:
    here = world(DaemonsFact=daemons(main={"containers": {"kubelet": running("kubelet", None)}}))
    unpack, pods, stop, exchange, start, kubelet = restored(here)
    assert unpack.startswith(f"set -- {PATH} r/etcd:1 --name m1 --initial-cluster m1=https://10.0.0.11:2380 ")
    assert re.search(r"--bump-revision \d{12} --mark-compacted", unpack)
    assert "stop" not in unpack
    assert pods.startswith("docker stop -t 20 kubelet >/dev/null; for p in a b; do")
    assert stop.endswith("stop -t 20 etcd >/dev/null")
    assert exchange.startswith("set -- before-restore-S; ")
    assert exchange.index('mv member "$aside/member"') < exchange.index("mv restored/member member")
    assert "start etcd" in start
    assert "endpoint health" in start
    assert kubelet == "docker start kubelet >/dev/null"
    said = here.says(
        etcd_restored, node=here.node(), path=PATH, backup=GOOD, image="r/etcd:1", pods=("a", "b"), stamp="S"
    )
    assert "Will move etcd's present data to /var/lib/etcd/before-restore-S" in said
    assert "Will stop the kubelet, a, b and etcd" in said


def test_on_a_new_machine_nothing_is_stopped_and_nothing_moved() -> None:
    here = world(DaemonsFact=daemons("daemons-fresh"), Leftovers=left(paths=frozenset()))
    assert [text.split(";")[0].split()[2] for text in restored(here)] == [PATH, "before-restore-S"]
    said = here.says(etcd_restored, node=here.node(), path=PATH, backup=GOOD, image="r/etcd:1", pods=("a",), stamp="S")
    assert "Will restore etcd from" in said
    assert "Will stop" not in said
    assert "Will move" not in said


def test_a_restore_waits_for_the_pods_of_the_last_apply_not_for_this_runs() -> None:
    before = world().node()
    (proxy,) = (pod for pod in static_pods.static_pods(before) if pod.name == "kube-proxy")
    other = replace(proxy.manifest, content=proxy.manifest.content.replace(proxy.revision, "ab12"))
    here = world(HostFiles=host_files(other))
    node = here.node()
    with here.on():
        assert {pod.name: pod.revision for pod in control_plane.as_written(node)} == {"kube-proxy": "ab12"}
    unstuck = control_plane.unstick(node, replace(proxy, revision="ab12"))
    assert "revision=ab12" in unstuck


def test_flannel_is_restarted_where_it_runs() -> None:
    here = world(DaemonsFact=daemons(bootstrap={"containers": {"flannel": running("flannel", None)}}))
    (step,) = here.run(flannel_restarted)
    assert isinstance(step, Shell)
    assert step.text.endswith("restart -t 5 flannel >/dev/null")
    for containers in ({}, {"flannel": running("flannel", None, runs=False)}):
        assert world(DaemonsFact=daemons(bootstrap={"containers": containers})).run(flannel_restarted) == []


# ---- what a turndown says, and the shell


def test_a_purge_names_the_backups_that_it_removes() -> None:
    said = world(Leftovers=left(paths=frozenset({RECORD}), backups=(PATH,))).says(no_record)
    assert f"and with it the backups:\n      {PATH}" in said
    assert "backups" not in world(Leftovers=left(paths=frozenset({RECORD}))).says(no_record)


def test_the_facts_shell_reads_an_archive_and_never_a_key(tmp_path: Path) -> None:
    place = tmp_path / "it's a.tar.gz"
    pack(place, GOOD.about, ("backup.json", "status.json", *sorted(GOOD.members - {"backup.json", "status.json"})))

    def ask(path: Path) -> Backup:
        script = StringCommand(BackupFile().command(path=str(path))).get_raw_value()
        ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")
        return BackupFile().process(ran.stdout.splitlines())

    assert (ask(place).ours, ask(place).about, ask(place).members) == (True, GOOD.about, GOOD.members)
    place.write_bytes(place.read_bytes()[:-20])
    assert (ask(place).there, ask(place).ours) == (True, False)
    assert not ask(tmp_path).there


@needs_root
def test_what_is_laid_is_recorded_with_the_modes_of_the_archive(tmp_path: Path) -> None:
    names = ("etc/kubernetes/pki/ca.crt", "etc/kubernetes/pki/ca.key", "etc/kubernetes/pki/sa.key", "snapshot.db")
    source = tmp_path / "source"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
        (source / name).chmod(0o600 if name.endswith(".key") else 0o644)
    subprocess.run(["tar", "-czf", tmp_path / "a.tar.gz", "-C", source, *names], check=True)
    (tmp_path / RECORD.lstrip("/")).mkdir(parents=True)
    # the script knows places only as absolute paths: the new ones are those of the archive, in /
    script = below(tmp_path, LAY).replace('done < "$new.list"', "done < /dev/null")
    ran = sh(f"set -- {tmp_path}/a.tar.gz {' '.join(names[:2])}; {script}")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (record(tmp_path) / "files").read_text() == "/etc/kubernetes/pki/ca.crt\n/etc/kubernetes/pki/ca.key\n"
    assert sorted(path.name for path in record(tmp_path).iterdir()) == ["files"]
    assert sh(f"set -- {tmp_path}/a.tar.gz no/such; {script}").returncode != 0


def test_the_exchange_keeps_the_present_data_and_needs_none(tmp_path: Path) -> None:
    for number, there in enumerate((True, False)):
        place = tmp_path / str(number)
        (place / "restored/member").mkdir(parents=True)
        (place / "restored/member/new").touch()
        if there:
            (place / "member").mkdir()
            (place / "member/old").touch()
        ran = sh(f"set -- aside; {EXCHANGE.replace(ETCD_DATA, str(place))}")
        assert (ran.returncode, ran.stderr) == (0, "")
        left_there = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
        assert left_there == ["aside/member/old"] * there + ["member/new"]
        assert not (place / "restored").exists()
        (place / "restored/member").mkdir(parents=True)  # pyinfra's --retry
        assert sh(f"set -- aside; {EXCHANGE.replace(ETCD_DATA, str(place))}").returncode == 0
        kept = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
        assert kept == (["aside-again/member/new", "aside/member/old"] if there else ["aside/member/new"])
