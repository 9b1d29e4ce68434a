"""A full disk, etcd's or Docker's: said in a sentence, nothing is lost, and with room again all goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.hosts import Host

from . import neighbours
from .cluster import BOOTSTRAP, BUSYBOX, KUBECTL, Cluster
from .product import Run, assert_empty
from .report import Figure
from .waiting import until

MEANWHILE = "/mnt/meanwhile"
ROOMY = "4g"
ETCD, DOCKER = "/var/lib/etcd", "/var/lib/docker"
PATIENT = {"kubelet_extra_args": {"eviction-pressure-transition-period": "10s"}}
"""By default a node that was short of disk takes no pods for five minutes more."""


@contextmanager
def _on_its_own_disk(host: Host, path: str, stop: str, start: str) -> Iterator[None]:
    """What lies at a path lies on a disk of its own meanwhile, of which a test can set the size; programs are stopped
    while it moves. The disk is memory, so that the machine's own can't run full."""
    copy = "cp -a --sparse=never {0}/. {1}/"
    host.run(
        f"{stop}; mkdir -p {MEANWHILE} && mount -t tmpfs -o size={ROOMY} tmpfs {MEANWHILE} && "
        f"{copy.format(path, MEANWHILE)} && mount --bind {MEANWHILE} {path} && {start}",
        timeout=300,
    )
    try:
        yield
    finally:
        host.run(
            f"mount -o remount,size={ROOMY} {path}; {stop}; umount {path} && rm -rf {path}/* && "
            f"{copy.format(MEANWHILE, path)}; {start}; umount {MEANWHILE}; rmdir {MEANWHILE}",
            timeout=300,
        )


def _fill(host: Host, path: str) -> None:
    """Make the disk as small as what lies on it."""
    shrink = f"mount -o remount,size=$(df -Pk {path} | awk 'END{{print $3}}')k {path}"
    until("the disk to be full", 20, lambda: host.run(shrink).returncode == 0)
    assert int(host.run(f"df -Pm {path} | awk 'END{{print $4}}'").stdout) == 0


def _make_room(host: Host, path: str) -> None:
    host.run(f"mount -o remount,size={ROOMY} {path}")


def _status(cluster: Cluster, host: Host) -> dict[str, Any]:
    found: dict[str, Any] = next(n for n in cluster.product.told()[1]["nodes"] if n["node"] == host.name)
    return found


def _told(cluster: Cluster, host: Host, path: str, left: str = "0 of ") -> Run:
    """Status and run name the disk, what is left, and what to do."""
    said = f"the disk of {path} is full: {left}"
    status = _status(cluster, host)
    assert status["state"] == "broken"
    assert status["problems"][0].startswith(said)
    assert "MiB are free; make room there" in status["problems"][0]
    run = cluster.product.apply()
    assert run.code == 1
    assert f"{host.name}: {said}" in run.stderr
    assert "Traceback" not in run.text
    assert "Starting operation" not in run.text
    return run


def _objects(cluster: Cluster) -> set[str]:
    return set(cluster.kubectl("get", "configmap", "-o", "name").split())


@pytest.mark.promise("disk-full-etcd")
def test_a_full_disk_of_etcd_is_told_loses_nothing_and_etcd_comes_back_by_itself(
    cluster: Cluster, figure: Figure
) -> None:
    master = cluster.master
    wait = f"for i in $(seq 60); do {KUBECTL} get --raw /readyz >/dev/null 2>&1 && exit 0; sleep 1; done; exit 1"
    stop, start = f"{BOOTSTRAP} stop -t 10 etcd >/dev/null", f"{BOOTSTRAP} start etcd >/dev/null"
    with _on_its_own_disk(master, ETCD, stop, start):
        master.run(wait, timeout=90)
        cluster.wait_works()
        cluster.kubectl("create", "configmap", "kept", "--from-literal=made=before")
        _fill(master, ETCD)
        made = _write_until_it_fails(cluster)
        figure("configmaps of 1 MB until a full disk ended etcd", made)
        # it ends before the last byte where it lacks the 64 MB of its next file, which it then takes away again
        run = _told(cluster, master, ETCD, left="")
        figure("seconds: until a run says that etcd's disk is full", run.seconds)
        begin = time.monotonic()
        _make_room(master, ETCD)
        until("the API to answer", 400, lambda: master.run(f"{KUBECTL} get --raw /readyz", check=False).returncode == 0)
        figure("seconds: etcd's disk has room again, until the API answers", time.monotonic() - begin)
        cluster.wait_works()
        names = _objects(cluster)
        assert {"configmap/kept", *(f"configmap/big-{i}" for i in range(made))} <= names
        assert_empty(cluster.product.plan())
        cluster.kubectl("delete", *(name for name in names if name.startswith(("configmap/big-", "configmap/kept"))))
    master.run(wait, timeout=90)
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def _write_until_it_fails(cluster: Cluster) -> int:
    """How many objects the API took, of those that it said yes to."""
    for i in range(400):
        thing = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"big-{i}"},
            "data": {"x": "x" * 1_000_000},
        }
        done = cluster.master.run(f"{KUBECTL} create -f -", input=json.dumps(thing), check=False, timeout=60)
        if done.returncode:
            return i
    raise AssertionError("a full disk took 200 MB")


@pytest.mark.promise("disk-full-docker")
def test_a_full_disk_of_docker_is_told_containers_run_on_and_the_node_recovers(
    cluster: Cluster, figure: Figure
) -> None:
    worker = cluster.workers[0]
    cluster.product.apply(data=PATIENT).check()
    stop, start = "systemctl stop docker.socket docker", "systemctl start docker.socket docker"
    with _on_its_own_disk(worker, DOCKER, stop, start):
        cluster.wait_works()
        _fill(worker, DOCKER)
        assert neighbours.run_on(worker)
        new = worker.run(f"docker run --rm {BUSYBOX} true", check=False)
        assert new.returncode != 0
        assert "no space left on device" in new.stderr
        run = _told(cluster, worker, DOCKER)
        figure("seconds: until a run says that Docker's disk is full", run.seconds)
        until("the kubelet to tell", 60, lambda: "DiskPressure" in str(_status(cluster, worker)["problems"]), every=2)
        begin = time.monotonic()
        _make_room(worker, DOCKER)
        until("the kubelet to tell", 120, lambda: _conditions(cluster, worker) == {"Ready"}, every=2)
        figure("seconds: Docker's disk has room again, until the node is Ready", time.monotonic() - begin)
        assert neighbours.run_on(worker)
        cluster.product.apply(data=PATIENT).check()
        cluster.deploy_web()  # the kubelet evicts pods, and these have nobody who makes them anew
        cluster.wait_works()
        assert_empty(cluster.product.plan(data=PATIENT))
    cluster.product.apply().check()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


@pytest.mark.promise("disk-full-docker")
def test_a_docker_that_started_on_a_full_disk_has_its_containers_again_after_a_run(
    cluster: Cluster, figure: Figure
) -> None:
    worker = cluster.workers[0]
    stop, start = "systemctl stop docker.socket docker", "systemctl start docker.socket docker"
    with _on_its_own_disk(worker, DOCKER, stop, start):
        cluster.wait_works()
        before = set(worker.run("docker ps -aq --no-trunc --filter name=^kubelet$ --filter name=^shop$").stdout.split())
        _fill(worker, DOCKER)
        worker.run("systemctl restart docker", timeout=120)
        assert worker.run("docker ps -aq").stdout == "", "Docker knows its containers: then this test is for nothing"
        _told(cluster, worker, DOCKER)
        _make_room(worker, DOCKER)
        assert "lost kubelet when it started on a full disk" in str(_status(cluster, worker)["problems"])
        plan = cluster.product.plan()
        assert "because it lost kubelet when it started on a full disk" in plan.stderr
        assert "Will create container kubelet" not in plan.stderr
        run = cluster.product.apply().check()
        figure("seconds: a run on a Docker that lost its containers on a full disk", run.seconds)
        assert before <= set(worker.run("docker ps -q --no-trunc").stdout.split())
        assert neighbours.run_on(worker)
        cluster.deploy_web()
        cluster.wait_works()
        assert_empty(cluster.product.plan())
    cluster.wait_works()


def _conditions(cluster: Cluster, host: Host) -> set[str]:
    (node,) = cluster.get("node", host.name)
    return {c["type"] for c in node["status"]["conditions"] if c["status"] == "True"}
