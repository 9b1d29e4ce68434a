"""What can't start says why, in time; once the cause is gone, the next run finishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.hosts import Host
from tests.lab.lab import Lab

from . import node_image
from .cluster import BOOTSTRAP, Cluster
from .conftest import DOCKERS, SPARE, docker_choice
from .product import Data, Product, Run, assert_empty
from .report import Figure
from .waiting import until

LIMIT = 20
QUICK: dict[str, object] = {"timeout_for_services": LIMIT, "timeout_for_images": 60}
HUNG = 600
"""Seconds after which a run that fails counts as hung; its own limits end it long before."""


@pytest.fixture(scope="module")
def spare(lab: Lab, cluster: Cluster) -> Iterator[Host]:
    """A fresh host that fails and fails, and is a master of its own in the end."""
    host = lab.host(SPARE, docker=DOCKERS[docker_choice()][0], fresh=True)
    yield host
    host.remove()


@pytest.fixture(scope="module")
def alone(alone: Product, cluster: Cluster) -> Product:
    """The product on that host alone, told what the cluster is told; with the ready-made node image, which is in the
    lab's registry by now."""
    ready_made = node_image.in_registry(cluster.node_image())
    return Product(alone.inventory, {**cluster.product.data, "node_image": ready_made})


def _fails(product: Product, *words: str, data: Data | None = None) -> Run:
    run = product.run("master", "-y", data={**QUICK, **(data or {})}, timeout=HUNG)
    assert run.code != 0
    assert "Traceback" not in run.text
    for word in words:
        assert word in run.stderr, f"not said: {word}\n{run.tail()}"
    return run


@contextmanager
def _squatter(host: Host, port: int) -> Iterator[None]:
    """A program of somebody else's that listens on a port."""
    host.run(f"systemd-run -q --unit=squatter systemd-socket-activate -l {port} /bin/cat")
    until("the squatter to listen", 10, lambda: f":{port} " in host.run("ss -Hltn").stdout)
    try:
        yield
    finally:
        host.run("systemctl stop squatter")


def test_a_busy_port_is_refused_before_anything_is_changed(spare: Host, alone: Product) -> None:
    with _squatter(spare, 6443):
        _fails(alone, "6443", "kube-apiserver")
    assert spare.run("ls /var/lib/docker-multinode /etc/kubernetes", check=False).stdout == ""


@contextmanager
def _small_etcd(host: Host, size: str) -> Iterator[None]:
    """etcd's data would lie on a disk of that size."""
    host.run(f"mount -t tmpfs -o size={size} tmpfs /var/lib/etcd")
    try:
        yield
    finally:
        host.run("docker -H unix:///run/docker-bootstrap.sock rm -f etcd; umount /var/lib/etcd", check=False)


def test_a_disk_without_room_is_refused_before_anything_is_changed(spare: Host, alone: Product) -> None:
    with _small_etcd(spare, "1m"):
        _fails(alone, "the disk of /var/lib/etcd is full: 1 of 1 MiB are free; make room there")
    with _small_etcd(spare, "150m"):
        _fails(alone, "the disk of /var/lib/etcd has 150 MiB free; an install as master needs 192 there")
    assert spare.run("ls /var/lib/docker-multinode /etc/kubernetes", check=False).stdout == ""


def test_a_disk_of_etcd_that_fills_up_meanwhile(spare: Host, alone: Product) -> None:
    with _small_etcd(spare, "200m"):
        fill = "until [ -S /run/docker-bootstrap.sock ]; do sleep 0.1; done; cat /dev/zero > /var/lib/etcd/ballast"
        spare.run(f"systemd-run -q --unit=ballast sh -c '{fill}'")
        _fails(alone, "no space left on device", "to look further: ", f"waited {LIMIT} s for etcd")


def test_a_port_that_is_taken_meanwhile(spare: Host, alone: Product) -> None:
    spare.run(f"{BOOTSTRAP} rm -f etcd", check=False)
    with _squatter(spare, 2379):
        _fails(alone, "address already in use", "to look further: ", f"waited {LIMIT} s for etcd")


@pytest.mark.parametrize(
    ("setting", "image"), [("etcd_version", "etcd:9.9.9"), ("flannel_version", "flannel-io/flannel:v9.9.9")]
)
def test_an_image_that_does_not_exist(setting: str, image: str, alone: Product) -> None:
    _fails(alone, "cannot pull", image, data={setting: image.split(":")[1]})


def test_a_component_that_refuses_its_flags(alone: Product) -> None:
    # a kubelet that just started needs its time until the first static pod
    data = {"apiserver_extra_args": {"no-such-flag": "1"}, "timeout_for_services": 3 * LIMIT}
    waiting = f" s of at most {3 * LIMIT} s"
    _fails(alone, "unknown flag: --no-such-flag", f"waited {3 * LIMIT} s for ", "waiting for: ", waiting, data=data)


def test_once_the_causes_are_gone_it_finishes_with_a_node_image_built_on_the_host(
    spare: Host, alone: Product, figure: Figure
) -> None:
    builds = Product(alone.inventory, {key: value for key, value in alone.data.items() if key != "node_image"})
    image = node_image.of_plan(builds.plan("master"))
    assert spare.run(f"docker image inspect {image}", check=False).returncode != 0
    run = builds.apply("master").check()
    figure("seconds: a master alone goes on and builds its node image", run.seconds)
    cluster = Cluster(spare, (), builds)
    assert cluster.node_image() == image
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(builds.plan("master"))


def test_one_host_that_fails_does_not_stop_the_others(cluster: Cluster) -> None:
    worker, manifest = cluster.workers[0], "/etc/kubernetes/manifests/kube-scheduler.yaml"
    cluster.master.run(f"rm {manifest}")
    worker.power_off()
    try:
        # a node that the API still calls Ready is pinged, in vain
        until("the worker to be given up", 120, lambda: not cluster.node_ready(worker.name))
        run = cluster.product.apply()
        assert run.code == 1
        assert worker.name in run.stderr
        assert "Traceback" not in run.text
        cluster.master.run(f"test -e {manifest}")
        assert "The control plane is up." in run.stderr, "the master's last operation was not run"
    finally:
        worker.power_on()
    cluster.wait_works()
