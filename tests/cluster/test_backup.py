"""A backup is taken, copied and put back: on the same master, and on a new machine in its place."""

from __future__ import annotations

import hashlib
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab

from .cluster import BOOTSTRAP, Cluster
from .product import PURGE, Product, Run, assert_empty
from .report import Figure
from .test_members import NEW_MACHINE
from .test_security import _assert_absent
from .waiting import until

BACKUPS = "/var/lib/docker-multinode/backups"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the control machine's copy goes."""
    return tmp_path_factory.mktemp("backup") / "cluster.tar.gz"


@pytest.fixture(scope="module")
def archive(cluster: Cluster, copy: Path, figure: Figure) -> Iterator[str]:
    """A backup on the master with an object of before; one of after is made then."""
    _forget(cluster)
    cluster.kubectl("create", "configmap", "before", "--from-literal=made=before")
    run = cluster.product.run("backup", "-y", "-vvv", "--diff", data={"backup_path": str(copy)}).check()
    figure("seconds: a backup, copied to the control machine", run.seconds)
    _assert_absent(cluster.master, run.text)
    found = re.search(rf"({BACKUPS}/\S+\.tar\.gz) is there: taken (\S+), revision (\d+)", run.text)
    assert found, run.tail()
    cluster.kubectl("create", "configmap", "after", "--from-literal=made=after")
    yield found[1]
    cluster.product.apply().check()
    _forget(cluster)
    cluster.deploy_web()
    cluster.wait_works()


def _forget(cluster: Cluster) -> None:
    cluster.kubectl("delete", "configmap", "before", "after", "--ignore-not-found")


def _as_before(cluster: Cluster) -> None:
    names = set(cluster.kubectl("get", "configmaps", "-o", "name").split())
    assert "configmap/before" in names
    assert "configmap/after" not in names
    assert cluster.get("configmap", "before")[0]["data"] == {"made": "before"}


def _machine(cluster: Cluster) -> str:
    """The master's machine id, as the API knows it."""
    (node,) = cluster.get("node", cluster.master.name)
    return str(node["status"]["nodeInfo"]["machineID"])


def _restored(cluster: Cluster, run: Run) -> None:
    run.check()
    _assert_absent(cluster.master, run.text)


def test_the_archive_is_for_root_only_and_no_key_is_shown(cluster: Cluster, archive: str) -> None:
    look = f"stat -c '%a %u:%g' {archive} {BACKUPS}; ls -A {BACKUPS}; ls /var/lib/docker-multinode /tmp"
    seen = cluster.master.run(look).stdout.splitlines()
    assert seen[:2] == ["600 0:0", "700 0:0"]
    assert not [line for line in seen if ".new." in line]
    assert archive not in cluster.master.read("/var/lib/docker-multinode/files")


def test_the_copy_is_the_same_and_for_its_owner_only(cluster: Cluster, archive: str, copy: Path) -> None:
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    assert cluster.master.run(f"sha256sum {archive}").stdout.split()[0] == digest
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_a_copy_that_is_there_is_not_overwritten(cluster: Cluster, archive: str, copy: Path) -> None:
    before = copy.read_bytes()
    run = cluster.product.apply("backup", data={"backup_path": str(copy)})
    assert run.code != 0
    assert "is there and is not overwritten" in run.text
    assert copy.read_bytes() == before


def test_a_backup_changes_nothing_that_a_plan_sees(cluster: Cluster, archive: str) -> None:
    assert_empty(cluster.product.plan())


def test_what_is_no_backup_is_refused_before_anything_stops(cluster: Cluster, archive: str) -> None:
    cluster.master.run(f"head -c 20000 {archive} > {BACKUPS}/cut.tar.gz; tar -czf /root/other.tar.gz /etc/hostname")
    own = cluster.master.run("docker inspect -f '{{.State.StartedAt}}' kubelet").stdout
    try:
        for path, why in (
            (f"{BACKUPS}/cut.tar.gz", "or it is damaged"),
            ("/root/other.tar.gz", "is not a backup"),
            ("/no/such.tar.gz", "is neither there nor on this machine"),
            ("/etc", "is neither there nor on this machine"),
        ):
            run = cluster.product.apply("restore", data={"restore_from": path})
            assert run.code == 1
            assert why in run.text
            assert "Traceback" not in run.text
            assert "Starting operation" not in run.text
    finally:
        cluster.master.run(f"rm -f {BACKUPS}/cut.tar.gz /root/other.tar.gz")
    run = cluster.product.apply("restore")
    assert "restore_from names no backup" in run.text
    assert archive in run.text
    assert cluster.master.run("docker inspect -f '{{.State.StartedAt}}' kubelet").stdout == own


def test_a_plan_to_restore_changes_nothing(cluster: Cluster, archive: str) -> None:
    plan = cluster.product.plan("restore", data={"restore_from": archive}).check()
    assert set(plan.changes) >= {"Kubernetes | restore | Restore etcd"}
    worker = {name for name, hosts in plan.changes.items() if cluster.workers[0].name in hosts}
    assert worker == {"Kubernetes | restore | Restart flannel"}
    cluster.kubectl("get", "configmap", "after")


@pytest.mark.promise("snapshot-restore")
def test_the_same_master_has_what_was_there_before_and_not_what_came_after(
    cluster: Cluster, archive: str, figure: Figure
) -> None:
    pods = {pod["metadata"]["uid"] for pod in cluster.get("pods", "-l", "app=web")}
    run = cluster.product.run("restore", "-y", "-vvv", "--diff", data={"restore_from": archive})
    _restored(cluster, run)
    figure("seconds: a restore on the same master", run.seconds)
    _as_before(cluster)
    figure("seconds: then until pods reach each other", cluster.wait_works())
    assert_empty(cluster.product.plan())
    assert {pod["metadata"]["uid"] for pod in cluster.get("pods", "-l", "app=web")} == pods
    aside = cluster.master.run("ls -d /var/lib/etcd/before-restore-*/member").stdout.split()
    assert aside
    # watchers of the time before noticed: what is made now comes to life
    cluster.kubectl("create", "deployment", "new", "--image=" + cluster.node_image(), "--", "sleep", "infinity")
    cluster.kubectl("rollout", "status", "deployment/new", "--timeout=50s")
    cluster.delete("deployment", "new")


@pytest.mark.parametrize("seconds", [0.5, 2, 5])
def test_a_restore_that_is_killed_can_be_run_again(seconds: float, cluster: Cluster, archive: str) -> None:
    """Before the snapshot is unpacked, and while etcd and the control plane are down, where it comes to that."""
    cluster.kubectl("create", "configmap", "after", "--from-literal=made=after")
    data = {"restore_from": archive}
    with cluster.product.begun("restore", said="Starting operation.*Restore etcd", data=data) as run:
        time.sleep(seconds)
        run.kill()
    _restored(cluster, cluster.product.run("restore", "-y", "-vvv", "--diff", data=data))
    _as_before(cluster)
    cluster.wait_works()
    assert_empty(cluster.product.plan())


@pytest.mark.promise("snapshot-restore")
def test_a_broken_etcd_is_restored_from_the_control_machine_by_a_login_with_sudo(
    lab: Lab, cluster: Cluster, archive: str, copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sudo") / "inventory.py"
    lab.inventory(path, masters=[cluster.master], workers=list(cluster.workers), user={cluster.master.name: "lab"})
    product = Product(path, cluster.product.data)
    cluster.kubectl("create", "configmap", "after", "--from-literal=made=after")
    run = product.run("backup", "-y", "-vvv", "--diff", data={"backup_path": str(path.parent)}).check()
    _assert_absent(cluster.master, run.text)
    (second,) = path.parent.glob(f"{cluster.master.name}-*.tar.gz")
    assert stat.S_IMODE(second.stat().st_mode) == 0o600
    cluster.master.run(f"rm -f {archive}; {BOOTSTRAP} stop -t 5 etcd; echo broken > /var/lib/etcd/member/snap/db")
    cluster.master.run(f"{BOOTSTRAP} start etcd", check=False)
    run = product.run("restore", "-y", "-vvv", "--diff", data={"restore_from": str(copy)})
    _restored(cluster, run)
    assert cluster.master.run(f"stat -c '%a %u:%g' {archive}").stdout.strip() == "600 0:0"
    strange = cluster.master.run("find /tmp /var/tmp -xdev -type f -not -path '*/systemd-private*'").stdout
    assert strange == ""
    _as_before(cluster)
    cluster.wait_works()
    assert_empty(product.plan())


@pytest.mark.promise("snapshot-restore")
def test_a_new_machine_in_the_place_of_the_master_has_what_was_there_before(
    cluster: Cluster, archive: str, copy: Path, figure: Figure
) -> None:
    authority = cluster.master.read("/etc/kubernetes/pki/ca.crt")
    subnets = [host.read("/var/lib/docker-multinode/subnet.env") for host in cluster.hosts]
    cluster.kubectl("create", "configmap", "after", "--from-literal=made=after")
    words = ("--limit", cluster.master.name)
    plan = cluster.product.plan("turndown", *words, data=PURGE).check()
    assert archive in "\n".join(plan.diff)
    cluster.product.apply("turndown", *words, data=PURGE).check()
    left = cluster.master.run("find /var/lib/etcd /var/lib/docker-multinode -mindepth 1", check=False)
    assert left.stdout == ""
    machine = cluster.master.read("/etc/machine-id")
    cluster.master.run("cp -p /etc/machine-id /run/machine-id.kept")
    cluster.master.write("/etc/machine-id", f"{NEW_MACHINE}\n")
    try:
        _restored(cluster, cluster.product.run("restore", "-y", "-vvv", "--diff", data={"restore_from": str(copy)}))
        run = cluster.product.run("cluster", "-y", "-vvv", "--diff")
        _restored(cluster, run)
        figure("seconds: a new install on a restored backup", run.seconds)
        assert cluster.master.read("/etc/kubernetes/pki/ca.crt") == authority
        assert [host.read("/var/lib/docker-multinode/subnet.env") for host in cluster.hosts] == subnets
        _as_before(cluster)
        cluster.wait_works()
        assert _machine(cluster) == NEW_MACHINE
        assert_empty(cluster.product.plan())
    finally:
        cluster.master.run("cp -p /run/machine-id.kept /etc/machine-id && rm /run/machine-id.kept")
    cluster.master.run("docker restart -t 5 kubelet")
    until("the node to be the machine that it was", 60, lambda: _machine(cluster) == machine.strip())
