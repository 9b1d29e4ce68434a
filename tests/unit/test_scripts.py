"""The shell that hosts are given, run here by a real shell in a directory of its own instead of /."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest
from pyinfra.api import FactProcessError, StringCommand

from deploys import lock, static_pods
from deploys.facts import inside
from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import LABEL, DaemonState, Other
from deploys.facts.files import HostFiles
from deploys.facts.kernel import Kernel, KernelState
from deploys.facts.kubernetes import Objects
from deploys.facts.leftovers import Left, Leftovers
from deploys.facts.platform import DATA_ROOT, Platform
from deploys.facts.sections import parts
from deploys.operations.files import WRITE, File, archive, make_directories, remove_files
from deploys.operations.images import pulled
from deploys.operations.kernel import kernel
from deploys.operations.leftovers import _NO_DIRECTORIES, no_chains, no_record
from deploys.phases import control_plane
from deploys.record import BEFORE, BOOTSTRAP_DATA, ETCD_DATA, KUBELET, OWN_PLACES, RECORD, SHARED_PLACES, SOCKETS

from . import machines
from .harness import Shell, World
from .known import daemons, left

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="chown 0:0 needs root")


def below(root: Path, script: str) -> str:
    """The script with our places below a root."""
    for place in sorted({*OWN_PLACES, *SHARED_PLACES, RECORD, ETCD_DATA}, key=len):
        script = script.replace(f"{place}", f"{root}{place}")
    return script.replace(f"{root}{root}", str(root))


def sh(script: str, stdin: str = "", path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script as pyinfra would on a host."""
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
    return subprocess.run(["sh", "-c", script], input=stdin, capture_output=True, text=True, timeout=30, env=env)


def record(root: Path) -> Path:
    """Where the record is."""
    return root / "var/lib/docker-multinode"


def write(root: Path, *files: File) -> None:
    """Write files below the root by the product's own script."""
    places = [File(f"{root}{f.path}", f.content, f.mode, f.secret) for f in files]
    ran = sh(below(root, WRITE.strip()), archive(places))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@needs_root
def test_files_are_put_in_place_with_mode_and_owner_and_recorded(tmp_path: Path) -> None:
    write(tmp_path, File("/etc/kubernetes/pki/etcd/ca.key", "K\n", "600", secret=True), File("/etc/a b.conf", "é\n"))
    key = tmp_path / "etc/kubernetes/pki/etcd/ca.key"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("K\n", 0o600)
    assert (tmp_path / "etc/a b.conf").read_text() == "é\n"
    assert stat.S_IMODE((tmp_path / "etc/a b.conf").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "etc/kubernetes/pki").stat().st_mode) == 0o755
    known = (record(tmp_path) / "files").read_text().splitlines()
    assert known == [f"{tmp_path}/etc/a b.conf", f"{tmp_path}/etc/kubernetes/pki/etcd/ca.key"]


@needs_root
def test_directories_that_are_made_are_recorded_parents_first_but_not_the_record_itself(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    write(tmp_path, File("/etc/x/y/z", ""))
    made = (record(tmp_path) / "directories").read_text().splitlines()
    assert made == [f"{tmp_path}/etc/x", f"{tmp_path}/etc/x/y"]


@needs_root
def test_a_directory_that_is_there_is_left_as_it_is_and_one_that_is_missing_is_made_and_recorded(
    tmp_path: Path,
) -> None:
    srv, data = tmp_path / "srv", tmp_path / "data/volumes"
    srv.mkdir(mode=0o700)
    command = make_directories([str(srv), str(data)])
    ran = sh(below(tmp_path, command.get_raw_value()), archive([]))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (srv, data)] == [0o700, 0o755]
    assert (record(tmp_path) / "directories").read_text().splitlines() == [str(data.parent), str(data)]


@needs_root
def test_a_write_leaves_no_temporary_file_also_when_it_fails(tmp_path: Path) -> None:
    write(tmp_path, File("/etc/x", "1"))
    ran = sh(below(tmp_path, WRITE.strip()), "this is no archive")
    assert ran.returncode != 0
    assert sorted(p.name for p in record(tmp_path).iterdir()) == ["directories", "files"]
    assert (tmp_path / "etc/x").read_text() == "1"


TRACES = """#!/bin/sh
printf '%s %s\\n' "${0##*/}" "$*" >> LOG
PATH=${PATH#*:} exec "${0##*/}" "$@"
"""


@needs_root
def test_a_file_is_on_the_disk_before_it_gets_its_name_by_a_rename_in_its_own_directory(tmp_path: Path) -> None:
    place, etc = tmp_path / "bin", tmp_path / "etc"
    for name in ("cp", "sync", "mv"):
        program(place, name, TRACES.replace("LOG", str(tmp_path / "log")))
    paths = (f"{etc}/kubernetes/pki/x.key", f"{etc}/x.conf")
    ran = sh(below(tmp_path, WRITE.strip()), archive(File(path, "1", "600") for path in paths), path=str(place))
    assert (ran.returncode, ran.stderr) == (0, "")
    steps = [tuple(line.split(" ")) for line in (tmp_path / "log").read_text().splitlines()]
    all_known, known, directories = steps[0][1], str(record(tmp_path) / "files"), str(record(tmp_path) / "directories")
    assert Path(all_known).parent == record(tmp_path)
    files = [step for step in steps[3:] if step != ("sync", directories)]
    assert len(steps) - len(files) == 3 + 3  # etc, kubernetes, pki
    assert steps[:3] == [("sync", all_known), ("mv", "-f", all_known, known), ("sync", str(record(tmp_path)))]
    for path in paths:
        new = str(Path(path).with_name(".docker-multinode.new"))
        (copy, *there), files = files[:3], files[3:]
        assert (copy[:2], copy[3:]) == (("cp", "-p"), (new,))
        assert there == [("sync", new), ("mv", "-f", new, path)]
    assert files == []


def half_written(root: Path) -> Path:
    """A key as a power cut left it, under the name from which it would have been renamed; others can read it."""
    key = root / "etc/kubernetes/pki/.docker-multinode.new"
    key.parent.mkdir(parents=True)
    key.write_text("half a")
    record(root).mkdir(parents=True)
    (record(root) / "files").write_text(f"{root}/etc/kubernetes/pki/x.key\n")
    return key


@needs_root
def test_a_file_that_a_power_cut_left_beside_its_place_is_swept_by_the_next_write_and_never_written_into(
    tmp_path: Path,
) -> None:
    half, elsewhere = half_written(tmp_path), tmp_path / "elsewhere"
    half.rename(elsewhere)
    half.symlink_to(elsewhere)
    write(tmp_path, File("/etc/kubernetes/pki/y.key", "K", "600"))
    assert [p.name for p in half.parent.iterdir()] == ["y.key"]
    assert elsewhere.read_text() == "half a"
    half.touch()
    write(tmp_path, File("/etc/kubernetes/z", ""))
    assert not half.exists()


def test_a_file_that_a_power_cut_left_beside_its_place_goes_with_what_is_removed_and_with_the_record(
    tmp_path: Path,
) -> None:
    (last,) = World(facts={Leftovers: left()}).run(no_record)
    assert isinstance(last, Shell)
    for root, text in ((tmp_path / "a", remove_files(["/never"]).get_raw_value()), (tmp_path / "b", last.text)):
        half = half_written(root)
        (record(root) / "directories").write_text(f"{half.parent}\n")
        assert sh(below(root, text)).returncode == 0
        assert not half.parent.exists()


@needs_root
def test_a_file_that_can_not_be_put_in_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "bin"
    program(place, "sync", 'case $1 in */.docker-multinode.new) echo "No space left on device" >&2; exit 1; esac')
    ran = sh(below(tmp_path, WRITE.strip()), archive([File(f"{tmp_path}/etc/x.key", "1", "600")]), path=str(place))
    assert (ran.returncode, ran.stderr) == (1, "No space left on device\n")
    assert list((tmp_path / "etc").iterdir()) == []
    assert sorted(p.name for p in record(tmp_path).iterdir()) == ["directories", "files"]


@needs_root
def test_a_second_write_keeps_what_was_recorded(tmp_path: Path) -> None:
    write(tmp_path, File("/etc/b", "1"))
    write(tmp_path, File("/etc/a", "1"), File("/etc/b", "2"))
    assert (record(tmp_path) / "files").read_text() == f"{tmp_path}/etc/a\n{tmp_path}/etc/b\n"
    assert (tmp_path / "etc/b").read_text() == "2"


@needs_root
def test_removing_strikes_from_the_record_and_the_last_one_too(tmp_path: Path) -> None:
    write(tmp_path, File("/etc/a b", "1"), File("/etc/b", "1"))
    for gone, rest in (("/etc/a b", f"{tmp_path}/etc/b\n"), ("/etc/b", "")):
        ran = sh(below(tmp_path, remove_files([f"{tmp_path}{gone}"]).get_raw_value()))
        assert (ran.returncode, ran.stderr) == (0, "")
        assert not (tmp_path / gone.lstrip("/")).exists()
        assert (record(tmp_path) / "files").read_text() == rest


def test_a_record_that_a_full_disk_lets_nobody_write_stays_whole(tmp_path: Path) -> None:
    known = f"{tmp_path}/etc/a\n{tmp_path}/etc/b\n"
    record(tmp_path).mkdir(parents=True)
    (record(tmp_path) / "files").write_text(known)
    (record(tmp_path) / "files.new").symlink_to("/dev/full")
    ran = sh(below(tmp_path, remove_files([f"{tmp_path}/etc/a"]).get_raw_value()))
    assert ran.returncode == 1
    assert ran.stderr.endswith(f"{record(tmp_path)}/files can't be written and stays as it was: "
                               "free space on its disk and run again\n")  # fmt: skip
    assert [(p.name, p.read_text()) for p in record(tmp_path).iterdir()] == [("files", known)]


def test_a_file_that_can_not_be_removed_stays_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "etc/a").mkdir(parents=True)
    record(tmp_path).mkdir(parents=True)
    (record(tmp_path) / "files").write_text(f"{tmp_path}/etc/a\n")
    assert sh(below(tmp_path, remove_files([f"{tmp_path}/etc/a"]).get_raw_value())).returncode == 1
    assert (record(tmp_path) / "files").read_text() == f"{tmp_path}/etc/a\n"


@needs_root
def test_what_was_written_is_read_back_by_the_fact_but_no_key(tmp_path: Path) -> None:
    write(tmp_path, File("/etc/kubernetes/a b.yaml", "A: é\n"), File("/etc/kubernetes/pki/x.key", "SECRET", "600"),
          File("/etc/empty", ""))  # fmt: skip
    (tmp_path / "etc/kubernetes/theirs").write_text("foreign")
    ran = sh(below(tmp_path, HostFiles().command().get_raw_value()))
    assert ran.returncode == 0
    assert "SECRET" not in ran.stdout
    assert base64.b64encode(b"SECRET").decode()[:6] not in ran.stdout
    found = HostFiles().process(ran.stdout.splitlines())
    assert found.content(f"{tmp_path}/etc/kubernetes/a b.yaml") == "A: é\n"
    empty = found.ours(f"{tmp_path}/etc/empty")
    assert empty is not None
    assert (empty.content, empty.size, empty.owner) == ("", 0, "0:0")
    key = found.ours(f"{tmp_path}/etc/kubernetes/pki/x.key")
    assert key is not None
    assert (key.mode, key.size, key.content) == ("600", 6, None)
    theirs = found.files[f"{tmp_path}/etc/kubernetes/theirs"]
    assert (theirs.ours, theirs.content) == (False, None)


def test_a_certificate_is_read_whatever_its_mode_and_nothing_else_that_is_for_root_alone(tmp_path: Path) -> None:
    names = ("ca.crt", "sa.pub", "daemon.json", "plain.conf")
    write(tmp_path, *(File(f"/etc/kubernetes/pki/{name}", f"text of {name}") for name in names))
    for name in names[:3]:
        (tmp_path / "etc/kubernetes/pki" / name).chmod(0o400)
    ran = sh(below(tmp_path, HostFiles().command().get_raw_value()))
    found = HostFiles().process(ran.stdout.splitlines())
    read = {name: found.content(f"{tmp_path}/etc/kubernetes/pki/{name}") for name in names}
    assert read == {name: "" if name == "daemon.json" else f"text of {name}" for name in names}


def test_the_files_fact_of_a_host_without_anything_of_ours_is_empty(tmp_path: Path) -> None:
    ran = sh(below(tmp_path, HostFiles().command().get_raw_value()))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert HostFiles().process(ran.stdout.splitlines()).files == {}


def test_reading_facts_changes_nothing_and_succeeds_on_a_machine_without_docker(tmp_path: Path) -> None:
    for fact in (Platform(), DaemonsFact(), Leftovers()):
        ran = sh(below(tmp_path, StringCommand(fact.command()).get_raw_value()))
        assert ran.returncode == 0
        assert ran.stdout.splitlines()[-1] == "== end"
    assert list(tmp_path.iterdir()) == []


def test_the_platform_fact_tells_of_this_very_machine() -> None:
    ran = sh(Platform().command().get_raw_value())
    found = Platform().process(ran.stdout.splitlines())
    assert (found.machine, found.name, found.uid) == (os.uname().machine, os.uname().nodename, os.geteuid())
    assert found.memory_kib > 100_000
    assert found.interface("lo") is not None
    assert found.quotes_hold
    with open("/proc/sys/kernel/random/boot_id") as file:
        assert found.boot_id == file.read().strip()


def test_a_machine_id_without_a_line_end_takes_no_other_part_with_it(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("0" * 32)
    script = Platform().command().get_raw_value().replace("/etc/machine-id", f"{tmp_path}/id")
    begin = script[: script.index('echo "== user"')]
    assert parts(sh(begin).stdout.splitlines())["machine-id"] == ["0" * 32]


def test_a_record_without_a_line_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_text("net.ipv4.ip_forward=0")
    script = Kernel().command().get_raw_value().replace(f"{BEFORE}/kernel", f"{tmp_path}/kernel")
    assert Kernel().process(sh(script).stdout.splitlines()).before == {"net.ipv4.ip_forward": "0"}


def test_a_shell_that_makes_one_backslash_of_two_in_quotes_is_noticed() -> None:
    """fish (fishshell.com/docs/current/language.html#quotes)."""
    script = Platform().command().get_raw_value().replace("\\\\", "\\")
    begin = script[: script.index('echo "== machine"')]
    assert sh(begin).stdout.splitlines()[-2:] == ["== quoting", "\\"]
    assert Platform().process(machines.answer(quoting="\\")).quotes_hold is False


def test_nothing_is_removed_where_it_can_not_be_told_what_is_mounted(tmp_path: Path) -> None:
    program(tmp_path, "awk", "exit 2")
    (tmp_path / "p/file").parent.mkdir()
    (tmp_path / "p/file").touch()
    assert sh(f"set -- {tmp_path}/p; {_NO_DIRECTORIES}", path=str(tmp_path)).returncode == 1
    assert (tmp_path / "p/file").exists()


@pytest.mark.parametrize(
    ("words", "config", "root"),
    [
        ([], None, "/var/lib/docker"),
        ([], '{"debug": true, "data-root" : "ROOT/b", "bip": "x"}', "b"),
        (["--data-root=ROOT/a", "-H", "fd://"], '{"data-root": "ROOT/b"}', "a"),
        (["-H", "fd://", "--data-root", "ROOT/a"], None, "a"),
        ([], '{"data-root"\t:\n\t"ROOT/b"\r\n}', "b"),
        ([], '{"data-root": "ROOT\\/b"}', "b"),
        (["--config-file=ROOT/other.json"], '{"data-root": "ROOT/b"}', "c"),
        (["--config-file", "ROOT/other.json"], '{"data-root": "ROOT/b"}', "c"),
        (["--data-root=ROOT/link"], None, "b"),
        (["--data-root=ROOT/not/mounted"], None, "not/mounted"),
    ],
)
def test_a_daemons_data_is_found_by_its_command_line_and_configuration(
    words: list[str], config: str | None, root: str, tmp_path: Path
) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("b")
    (tmp_path / "other.json").write_text(f'{{"data-root": "{tmp_path}/c"}}')
    if config:
        (tmp_path / "daemon.json").write_text(config.replace("ROOT", str(tmp_path)))
    script = DATA_ROOT.replace("/etc/docker/daemon.json", str(tmp_path / "daemon.json"))
    ran = sh(f"{script}\ndata_root", "\n".join(words).replace("ROOT", str(tmp_path)))
    assert (ran.stdout, ran.stderr) == (f"{tmp_path / root}\n", "")


def test_a_place_is_measured_on_its_own_disk_whether_it_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/etcd").symlink_to("/dev/shm")  # another file system
    script = Platform().command().get_raw_value()
    for place in (ETCD_DATA, BOOTSTRAP_DATA, KUBELET, RECORD):
        script = script.replace(place, f"{tmp_path}{place}")
    disks = Platform().process(sh(script).stdout.splitlines()).disks
    for place, where in ((ETCD_DATA, Path("/dev/shm")), (KUBELET, tmp_path), (RECORD, tmp_path)):
        disk, status = disks[f"{tmp_path}{place}"], os.statvfs(where)
        assert disk.device == str(where.stat().st_dev)
        assert disk.size_mib == status.f_blocks * status.f_frsize >> 20
        assert abs(disk.free_mib - (status.f_bavail * status.f_frsize >> 20)) < 512
        assert (disk.inodes is None) is (status.f_files == 0)


def program(place: Path, name: str, text: str) -> None:
    """A program on the PATH."""
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{text}\n")
    (place / name).chmod(0o755)


DOCKER = """
case "$*" in
*docker-bootstrap.sock*" ps "*) echo "e|etcd|ours";;
*" ps "*) printf '%s\\n' 'k|kubelet|ours' 'd|db,web/db|other' 'x|ended|' 'p|k8s_proxy|program' 'w|k8s_web|';;
*" inspect "*" e") echo '{"name":"/etcd","state":{"Running":true},"labels":null}';;
*" inspect "*" k d p")
  printf '%s\\n' '{"name":"/kubelet","state":{"Running":true},"labels":{"io.docker-multinode.spec":"[\\"a\\\\n\\"]"}}'
  echo 'other {"name":"/db","restart":"no","remove":false}'
  echo 'program {"name":"kube-proxy","started":"2026-11-23T01:35:41.5Z"}';;
*docker-bootstrap.sock*" images -a "*) echo "reg/a:1|sha256:1234|reg/a@sha256:1234";;
*" images -a "*) echo "reg/a:1|sha256:1234|reg/a@sha256:1234"; echo "<none>:<none>|sha256:1235|<none>@<none>";;
*" images -q "*) echo 123456;;
*) echo "unexpected: $*" >&2; exit 1;;
esac
"""
PROGRAM = DOCKER[DOCKER.index("echo 'program") : DOCKER.index('\n*docker-bootstrap.sock*" images')]
SYSTEMCTL = """
echo ActiveState=active; echo MainPID=$PPID
"""


def asked_daemons(place: Path, docker: str, pid: object = "$PPID") -> list[str]:
    """What the fact's script prints where both daemons are active processes, and this is the docker command."""
    program(place / "bin", "docker", docker)
    program(place / "bin", "systemctl", SYSTEMCTL.replace("$PPID", str(pid)))
    ran = sh(below(place, DaemonsFact().command().get_raw_value()), path=str(place / "bin"))
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def test_the_daemons_fact_tells_ours_the_cluster_s_and_other_containers_apart(tmp_path: Path) -> None:
    found = DaemonsFact().process(asked_daemons(tmp_path, DOCKER))
    assert (set(found.main.containers), set(found.main.others)) == (
        {"kubelet"},
        {"db", "ended", "web/db", "k8s_proxy", "k8s_web"},
    )
    assert (found.main.running_others, found.bootstrap.running_others) == ((Other("db", "no", False),), ())
    assert (set(found.bootstrap.containers), set(found.bootstrap.others)) == ({"etcd"}, set())
    assert found.main.containers["kubelet"].spec == ["a\n"]
    assert (found.main.command[0], found.main.command[-1]) == ("sh", 'echo "== end"'), "as it stands in /proc"
    assert set(found.programs) == {"kube-proxy"}
    assert (found.main.unfinished, found.bootstrap.unfinished) == (("123456",), ())


def test_a_pod_that_ends_while_the_daemon_is_asked_is_not_there_and_hides_no_container(tmp_path: Path) -> None:
    ends = DOCKER.replace(PROGRAM, "exit 1;;")
    found = DaemonsFact().process(asked_daemons(tmp_path, ends))
    assert (set(found.main.containers), set(found.programs)) == ({"kubelet"}, set())


def after_a_full_disk(tmp_path: Path, *left: tuple[str, str, str]) -> DaemonState:
    """The main daemon where these containers of ours lie, by id, name and driver, and it may not know them all."""
    for number, name, driver in left:
        place = tmp_path / "containers" / number
        place.mkdir(parents=True)
        config = {"Driver": driver, "Name": f"/{name}", "Config": {"Labels": {LABEL: "x"}}}
        (place / "config.v2.json").write_text(json.dumps(config, separators=(",", ":")) + "\n")
        os.utime(place / "config.v2.json", (1, 1))
    (tmp_path / "pid").touch()
    knows = DOCKER.replace('*) echo "unexp', '*" info "*) echo overlay2;;\n*) echo "unexp')
    flags = (f"--data-root={tmp_path}", f"--pidfile={tmp_path}/pid")
    with subprocess.Popen(["sh", "-c", "read stop", "dockerd", *flags], stdin=subprocess.PIPE) as daemon:
        return DaemonsFact().process(asked_daemons(tmp_path, knows, daemon.pid)).main


def test_a_container_of_ours_that_docker_left_out_for_its_storage_driver_is_not_a_lost_one(tmp_path: Path) -> None:
    left = ("1f", "lost", "overlay2"), ("2f", "left", "zfs"), ("k", "kubelet", "overlay2")
    assert after_a_full_disk(tmp_path, *left).forgotten == ("lost",)


def test_a_lost_container_that_somebody_made_again_is_not_lost(tmp_path: Path) -> None:
    found = after_a_full_disk(tmp_path, ("1f", "kubelet", "overlay2"))
    assert (set(found.containers), found.forgotten) == ({"kubelet"}, ())


def test_somebody_elses_docker_bootstrap_is_not_asked(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "read stop"], stdin=subprocess.PIPE) as other:
        found = DaemonsFact().process(asked_daemons(tmp_path, DOCKER, other.pid))
    assert (found.bootstrap.active, set(found.bootstrap.containers)) == (True, set())
    assert set(found.main.containers) == {"kubelet"}


def test_a_systemctl_that_prints_garbage_does_not_keep_the_shell_busy(tmp_path: Path) -> None:
    program(tmp_path / "bin", "systemctl", f"head -c 300000 {tmp_path}/garbage | base64")
    (tmp_path / "garbage").write_bytes(os.urandom(300_000))
    script = below(tmp_path, DaemonsFact().command().get_raw_value())
    assert sh(script, path=str(tmp_path / "bin")).returncode == 0  # within the 30 s that a test's shell has


def test_a_daemon_that_hangs_when_it_is_asked_for_its_containers_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    hangs = DOCKER.replace(PROGRAM, "exit 124;;")
    with pytest.raises(FactProcessError, match="docker does not answer"):
        DaemonsFact().process(asked_daemons(tmp_path, hangs))


def test_a_host_that_preflight_refuses_is_not_called_one_whose_docker_does_not_answer(tmp_path: Path) -> None:
    program(tmp_path / "bin", "id", "echo 1000")
    found = DaemonsFact().process(asked_daemons(tmp_path, "exit 1"))
    assert (found.main.active, found.main.down) == (False, False)


@needs_root
def test_a_program_of_a_container_runs_where_the_container_runs_and_nowhere_else(tmp_path: Path) -> None:
    place, docker = tmp_path / "bin", socket.socket(socket.AF_UNIX)
    with docker, contextlib.chdir(tmp_path):  # a socket's path may not be long
        docker.bind("docker.sock")
    within = inside.within("kubelet", "main", "echo it", 5).replace(SOCKETS["main"], f"{tmp_path}/docker.sock")
    assert f'inspect --format \'{{{{if index .Config.Labels "{LABEL}"}}}}{{{{.State.Pid}}}}' in within
    for pid, active, rc, out in (
        (os.getpid(), True, 0, "it runs\n"),
        (os.getpid(), False, 125, ""),  # a question would start it, by its socket
        (0, True, 125, ""),
        ("", True, 125, ""),
    ):
        program(place, "docker", f"echo {pid}")
        program(place, "systemctl", f'[ "$*" = "is-active --quiet docker" ] && {str(active).lower()}')
        ran = sh(f"{within}\ninside runs 2>/dev/null", path=str(place))
        assert (ran.returncode, ran.stdout) == (rc, out)


def pull(place: Path, docker: str, limit: int = 5) -> subprocess.CompletedProcess[str]:
    """Pull two images with this docker."""
    program(place, "docker", docker)
    here = World(facts={DaemonsFact: daemons(main={"images": {}})})
    (step,) = here.run(pulled, daemon="main", images=["reg/a:1", "reg/b:2"], limit=limit)
    assert isinstance(step, Shell)
    return sh(step.text, path=str(place))


def test_pulls_run_side_by_side(tmp_path: Path) -> None:
    # each waits for the other: one after the other they would never end
    ran = pull(
        tmp_path / "bin",
        f'touch {tmp_path}/$(basename "$5"); until [ -e {tmp_path}/a:1 -a -e {tmp_path}/b:2 ]; do sleep 0.05; done',
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_pull_that_fails_says_which_image_and_why(tmp_path: Path) -> None:
    ran = pull(tmp_path / "bin", 'case $5 in *a:1) exit 0;; esac; echo "manifest unknown" >&2; exit 1')
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["cannot pull reg/b:2: manifest unknown"]


def test_a_pull_that_does_not_end_says_the_limit_and_its_option(tmp_path: Path) -> None:
    ran = pull(tmp_path / "bin", "case $5 in *a:1) exit 0;; esac; exec sleep 60", limit=1)
    assert ran.returncode == 1
    said = "cannot pull reg/b:2: it was not done within 1 s, which is timeout_for_images"
    assert ran.stderr.splitlines() == [said]


def test_what_the_kernel_was_before_is_written_line_by_line(tmp_path: Path) -> None:
    state = KernelState(frozenset(), {"net.ipv4.ip_forward": "0"}, {})
    (step, *_) = World(facts={Kernel: state}).run(kernel, modules=("vxlan",), sysctls={})
    assert isinstance(step, Shell)
    assert sh(below(tmp_path, step.text)).returncode == 0
    assert (record(tmp_path) / "before/kernel").read_text() == "net.ipv4.ip_forward=0\nmodule vxlan=absent\n"


SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m comment --comment "costs $5 `here`" -g KUBE-MARK-MASQ
-A PREROUTING -j DOCKER
-A KUBE-SERVICES -j KUBE-MARK-MASQ
COMMIT
"""


def test_chains_go_after_the_rules_that_jump_to_them_and_others_stay(tmp_path: Path) -> None:
    log, place = tmp_path / "log", tmp_path / "bin"
    (tmp_path / "saved").write_text(SAVED)
    program(place, "iptables-save", f"cat {tmp_path}/saved")
    program(place, "ip6tables-save", "true")
    program(place, "iptables", f'echo "$*" >> {log}')
    program(place, "iptables-restore", f"cat >> {log}")
    program(place, "ip6tables-restore", "cat")
    here = World(facts={Leftovers: left(chains=("nat KUBE-SERVICES",))})
    (step,) = here.run(no_chains, prefixes=("KUBE-",))
    assert isinstance(step, Shell)
    assert sh(step.text, path=str(place)).returncode == 0
    done = [line.removeprefix("-w -t nat ") for line in log.read_text().splitlines()]
    assert done[:2] == [
        "-D PREROUTING -m comment --comment kubernetes service portals -j KUBE-SERVICES",
        "-D PREROUTING -m comment --comment costs $5 `here` -g KUBE-MARK-MASQ",
    ]
    assert done.index("-F KUBE-SERVICES") < done.index("-X KUBE-SERVICES")
    assert done.index("-F KUBE-MARK-MASQ") < done.index("-X KUBE-SERVICES")
    assert {"-X KUBE-SERVICES", "-X KUBE-MARK-MASQ"} <= set(done)
    assert not [line for line in done if "DOCKER" in line]


def test_directories_of_ours_go_when_empty_children_first(tmp_path: Path) -> None:
    (tmp_path / "etc/x/y").mkdir(parents=True)
    (tmp_path / "etc/full").mkdir()
    (tmp_path / "etc/full/theirs").touch()
    record(tmp_path).mkdir(parents=True)
    made = [f"{tmp_path}/etc/x", f"{tmp_path}/etc/full", f"{tmp_path}/etc/x/y"]
    (record(tmp_path) / "directories").write_text("".join(f"{d}\n" for d in made))
    (step,) = World(facts={Leftovers: left()}).run(no_record)
    assert isinstance(step, Shell)
    assert sh(below(tmp_path, step.text)).returncode == 0
    assert not (tmp_path / "etc/x").exists()
    assert (tmp_path / "etc/full/theirs").exists()
    assert not record(tmp_path).exists()


def found_below(root: Path) -> Left:
    """What the fact finds below a root, on a host with links and chains of some Kubernetes."""
    place = root / "bin"
    program(place, "ip", 'echo "1: lo: <UP>"; echo "2: flannel.1: <UP>"')
    program(place, "iptables-save", "printf '*nat\\n:KUBE-SERVICES - [0:0]\\n'")
    program(place, "ip6tables-save", "true")
    ran = sh(below(root, StringCommand(Leftovers().command()).get_raw_value()), path=str(place))
    return Leftovers().process([line.replace(str(root), "") for line in ran.stdout.splitlines()])


def test_what_any_kubernetes_has_is_ours_only_on_a_host_that_the_record_says_is_a_node(tmp_path: Path) -> None:
    (tmp_path / "var/lib/kubelet").mkdir(parents=True)
    record(tmp_path).mkdir(parents=True)
    theirs = found_below(tmp_path)
    assert (theirs.paths, theirs.links, theirs.chains) == (frozenset(), frozenset(), ())
    for name in ("files", "node.json"):
        (record(tmp_path) / name).write_text("{}")
    ours = found_below(tmp_path)
    assert (ours.paths, ours.links) == (frozenset({RECORD, KUBELET}), frozenset({"lo", "flannel.1"}))
    assert ours.chains == ("nat KUBE-SERVICES",)


def test_networks_of_docker_are_told_apart_whatever_their_names(tmp_path: Path) -> None:
    told = "172.17.0.0/16 |bridge\n172.18.0.0/16 fd00::/64 |bridge of mine\n|none"
    program(tmp_path / "bin", "systemctl", "true")
    program(
        tmp_path / "bin", "docker", f"""case $1$2 in networkls) echo x;; networkinspect) printf '{told}\n';; esac"""
    )
    (record(tmp_path) / "before").mkdir(parents=True)
    (record(tmp_path) / "before/docker0").touch()
    assert found_below(tmp_path).networks == {"172.18.0.0/16": "bridge of mine", "fd00::/64": "bridge of mine"}


def within(place: Path, question: StringCommand) -> str:
    """A question to a container's program, whose environment has these programs, too."""
    return question.get_raw_value().replace("env -i HOME=/root PATH=", f"env -i HOME=/root PATH={place}:")


def test_a_program_of_a_container_gets_nothing_of_the_logins_environment(tmp_path: Path) -> None:
    program(tmp_path, "systemctl", "false")
    program(tmp_path, "chroot", "env >&2; false")
    ran = sh(f"export HTTPS_PROXY=http://p:1; {within(tmp_path, Objects().command('x'))}", path=str(tmp_path))
    assert "HTTPS_PROXY" not in ran.stdout
    assert "PATH=" in ran.stdout
    assert "/usr/local/bin:" in ran.stdout


def test_what_kubectl_diff_prints_arrives_as_it_is(tmp_path: Path) -> None:
    program(tmp_path, "systemctl", "false")
    program(tmp_path, "chroot", r"""case "$*" in *" diff "*) printf '%s\n' 'diff a' '+x: a\nb\cd'; exit 1;; esac""")
    ran = sh(within(tmp_path, Objects().command("x")), path=str(tmp_path))
    assert Objects().process(ran.stdout.splitlines()).diff == ("diff a", r"+x: a\nb\cd")


def test_an_object_whose_status_changed_while_it_was_compared_is_compared_again(tmp_path: Path) -> None:
    moved = 'diff a\n-  resourceVersion: "1"\n+  resourceVersion: "2"\n-  status: "False"\n+  status: "True"'
    program(tmp_path, "systemctl", "false")
    for times, found in ((1, ""), (9, moved)):
        (tmp_path / "moves").write_text("x\n" * times)
        left = f"[ -s {tmp_path}/moves ] || exit 0; sed -i 1d {tmp_path}/moves; printf '%s\\n' '{moved}'; exit 1"
        program(tmp_path, "chroot", f'case "$*" in *" diff "*) {left};; esac')
        ran = sh(within(tmp_path, Objects().command("x")), path=str(tmp_path))
        assert "\n".join(Objects().process(ran.stdout.splitlines()).diff) == found


def test_etcds_data_is_ours_where_the_key_of_its_authority_is(tmp_path: Path) -> None:
    data = tmp_path / "var/lib/etcd"
    data.mkdir(parents=True)
    record(tmp_path).mkdir(parents=True)
    (record(tmp_path) / "node.json").write_text("{}")
    # a worker has the authority's certificate
    (record(tmp_path) / "files").write_text(f"{tmp_path}/etc/kubernetes/pki/etcd/ca.crt\n")
    assert ETCD_DATA not in found_below(tmp_path).paths
    (record(tmp_path) / "files").write_text(f"{tmp_path}/etc/kubernetes/pki/etcd/ca.key\n")
    assert ETCD_DATA in found_below(tmp_path).paths


def hold(path: Path, who: str, patience: int = 3 * lock.BEAT) -> subprocess.Popen[str]:
    """The process on a host that holds the lock of a run, as long as it hears of it within so many seconds."""
    script = lock._HOLD.replace(lock.RUN_LOCK, str(path)).replace(f"timeout {3 * lock.BEAT} ", f"timeout {patience} ")
    pipe = subprocess.PIPE
    return subprocess.Popen(["sh", "-c", script, "lock", who], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def quiet(path: Path) -> float:
    """For how long the lock says that no run was at work."""
    held, now, last = hold(path, "ann").communicate(timeout=30)[0].split()
    assert held == "held"
    return float(now) - float(last)


def taken_in_time(path: Path) -> None:
    """Another run gets the lock, once the kernel is through with the one before."""
    end = time.monotonic() + 30
    while not (answer := hold(path, "bob@sofa").communicate(timeout=30)[0]).startswith("held "):
        assert time.monotonic() < end, f"still held by {answer}"
        time.sleep(0.05)


def test_a_run_holds_its_lock_until_its_end_of_the_line_closes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = hold(path, "ann@desk (process 7), since noon")
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline().startswith("held ")
    first.stdin.write("..")
    first.stdin.flush()
    second = hold(path, "bob@sofa")
    assert second.communicate(timeout=30)[0] == "taken\nann@desk (process 7), since noon\n"
    assert second.returncode == 1
    first.communicate(timeout=30)
    third = hold(path, "bob@sofa")
    assert third.communicate(timeout=30)[0].startswith("held ")
    # no record is here, so nothing of ours may stay
    assert not path.exists()


def test_a_lock_says_for_how_long_no_run_was_at_work(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert quiet(path) < 20  # nothing is known of before
    path.touch()
    os.utime(path, (time.time() - 50,) * 2)
    assert 50 <= quiet(path) <= 80


def test_a_run_that_was_killed_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = hold(path, "ann@desk")
    assert first.stdout is not None
    assert first.stdout.readline().startswith("held ")
    first.kill()
    first.communicate(timeout=30)
    # what reads its input has the lock too, and ends a moment after it
    taken_in_time(path)


def test_a_run_of_which_nothing_is_heard_loses_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = hold(path, "ann@desk", patience=1)
    assert first.stdout is not None
    assert first.stdout.readline().startswith("held ")
    assert first.wait(timeout=30) == 0  # its input is still open
    taken_in_time(path)
    first.communicate()


_DOCKER = """#!/bin/sh
cd $(dirname $0); echo x >> asked
case "$*" in
  *label=component=*) [ $(wc -l < asked) -gt ENDS ] || echo old ;;
  *revision=*) ;;
  *curl*) exit CURL ;;
  restart*) echo "$*" > restarted ;;
esac
"""


@pytest.mark.parametrize(
    ("ends", "curl", "restarted"),
    [(3, 7, False), (9999, 7, True), (9999, 0, False)],
    ids=["the old pod ends", "the old pod stays and does not answer", "the old pod stays and answers"],
)
def test_a_kubelet_is_started_anew_only_when_it_keeps_an_apiserver_that_does_not_answer(
    ends: int, curl: int, restarted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_plane, "GRACE_SECONDS", -4)
    fake = tmp_path / "docker"
    fake.write_text(_DOCKER.replace("ENDS", str(ends)).replace("CURL", str(curl)))
    fake.chmod(0o755)
    pod = static_pods.StaticPod("kube-apiserver", File("/etc/x", ""), revision="abc")
    monkeypatch.setattr(control_plane, "apiserver", lambda node: pod)
    assert sh(control_plane.unstick(World().node()), path=str(tmp_path)).returncode == 0
    assert (tmp_path / "restarted").exists() == restarted
