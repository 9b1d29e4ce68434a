"""The archive of evidence: what it promises is in it, and no key, token or value of a user."""

from __future__ import annotations

import base64
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .cluster import BUSYBOX, Cluster
from .product import Run, Sessions, assert_empty, counted
from .test_security import secrets, shows, tokens

pytestmark = pytest.mark.core

ENVIRONMENT, ARGUMENT, IN_SECRET, IN_CONFIG = "in-the-environment", "in-the-command", "in-a-secret", "in-a-config-map"
THEIRS = "cupboard"
LOGGED = (
    "password=hunter2-of-the-journal",
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0aGUtam91cm5hbCJ9.c2lnbmF0dXJlLW9mLXRoZS1qb3VybmFs",
    "-----BEGIN PRIVATE KEY-----",
    "MC4CAQAwBQYDK2VwBCIEIEtleU9mVGhlSm91cm5hbEtleU9mVGhlSm91cm5hbA==",
    "-----END PRIVATE KEY-----",
    "http://user:hunter3-of-the-journal@proxy.lan:3128",
    "after-all-secrets",
)
"""What a careless program says in the journal of Docker's unit, line by line."""

PROMISED = {
    "system/os-release.txt": "Debian",
    "system/kernel.txt": "Linux",
    "system/memory.txt": "MemTotal",
    "system/disks.txt": "Filesystem",
    "system/mounts.txt": " / ",
    "system/sysctls.txt": "net.ipv4.ip_forward = 1",
    "network/addresses.txt": "docker0",
    "network/links.txt": "vxlan id 1",
    "network/routes.txt": "flannel.1",
    "network/iptables.txt": "KUBE-SERVICES",
    "network/listening.txt": ":10250",
    "ours/record.txt": "FLANNEL_SUBNET=",
    "ours/subnet.env.txt": "FLANNEL_MTU=",
    "ours/files.txt": "600 0:0 ",
    "certificates.txt": "days left",
    "units/state.txt": "Id=docker-bootstrap.service",
    "units/text.txt": "zz-docker-multinode.conf",
    "units/docker.log": "dockerd",
    "units/docker-bootstrap.log": "dockerd",
    "docker/main-version.txt": "Server",
    "docker/main-info.txt": "Storage Driver",
    "docker/main-containers.txt": THEIRS,
    "docker/bootstrap-version.txt": "Server",
    "docker/bootstrap-info.txt": "/var/lib/bootstrap-docker",
    "docker/bootstrap-containers.txt": "flannel",
    "logs/kubelet.log": "kubelet",
    "logs/flannel.log": "flannel",
    "logs/kube-proxy.log": "=== k8s_kube-proxy",
}
"""File of each host → what stands in it."""
PROMISED_OF_THE_MASTER = {
    "logs/etcd.log": "etcd",
    "logs/kube-apiserver.log": "=== k8s_kube-apiserver",
    "logs/kube-controller-manager.log": "=== k8s_kube-controller-manager",
    "logs/kube-scheduler.log": "=== k8s_kube-scheduler",
    "kubernetes/nodes.txt": "Ready",
    "kubernetes/pods.txt": "kube-system",
    "kubernetes/events.txt": "LAST SEEN",
    "kubernetes/describe-nodes.txt": "Allocatable",
}


@dataclass(frozen=True)
class Archive:
    """An archive, and the run that made it."""

    path: Path
    run: Run
    texts: dict[str, str]
    """HOST/FILE → text."""


def _collected(cluster: Cluster, path: Path) -> Archive:
    run = cluster.product.run("evidence", "-y", "-vvv", data={"evidence_path": path})
    texts = {}
    with tarfile.open(path) as tar:
        for member in tar:
            data = tar.extractfile(member)
            assert data is not None
            top, _, name = member.name.partition("/")
            assert (top, member.mode) == (path.name.removesuffix(".tar.gz"), 0o600)
            texts[name] = data.read().decode()
    return Archive(path, run, texts)


@pytest.fixture(scope="module")
def private_things(cluster: Cluster) -> Iterator[None]:
    """A container, a Secret and a ConfigMap of a user, with values that are nobody's business."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": THEIRS}, "stringData": {"x": IN_SECRET}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": THEIRS}, "data": {"x": IN_CONFIG}}
    for thing in (secret, config):
        thing["metadata"]["namespace"] = "default"  # type: ignore[index]
    cluster.apply(secret, config)
    for host in cluster.hosts:
        for line in LOGGED:
            fields = f"MESSAGE={line}\nOBJECT_SYSTEMD_UNIT=docker.service\n"
            host.run("logger --journald", input=fields)
        command = f"sh -c 'sleep 86400' {ARGUMENT}"
        host.run(f"docker run -d --restart=always --name {THEIRS} -e THEIRS={ENVIRONMENT} {BUSYBOX} {command}")
    yield
    for host in cluster.hosts:
        host.run(f"docker rm -f {THEIRS}", check=False)
    cluster.delete("secret,configmap", THEIRS, "-n", "default")


@pytest.fixture(scope="module")
def sessions() -> list[Sessions]:
    """How often hosts were asked for the archive."""
    return []


@pytest.fixture(scope="module")
def archive(
    cluster: Cluster, private_things: None, sessions: list[Sessions], tmp_path_factory: pytest.TempPathFactory
) -> Archive:
    """The archive of the cluster as it is."""
    cluster.wait_works()
    with counted(cluster.hosts) as found:
        archive = _collected(cluster, tmp_path_factory.mktemp("evidence") / "e.tar.gz")
    sessions.append(found)
    archive.run.check()
    return archive


def test_what_it_promises_is_in_it(cluster: Cluster, archive: Archive) -> None:
    for host in cluster.hosts:
        promised = PROMISED | (PROMISED_OF_THE_MASTER if host is cluster.master else {})
        for file, words in promised.items():
            assert words in archive.texts[f"{host.name}/{file}"], f"{host.name}: {file}"
    assert "only the master is asked" in archive.texts[f"{cluster.workers[0].name}/kubernetes/nodes.txt"]
    assert (
        archive.texts[f"{cluster.workers[0].name}/logs/kube-apiserver.log"] == "no container of kube-apiserver here\n"
    )
    wrong = [name for name, text in archive.texts.items() if "[not done in" in text or "[left out: the host" in text]
    assert wrong == []


def test_it_is_for_its_owner_and_the_run_says_where_it_is(archive: Archive) -> None:
    assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
    assert f"The evidence is in {archive.path} (mode 600). Read it before you give it away." in archive.run.text


def test_each_host_is_asked_twice_at_most(cluster: Cluster, archive: Archive, sessions: list[Sessions]) -> None:
    (found,) = sessions
    assert all(0 < found.executions[host.name] <= 2 for host in cluster.hosts), found
    assert not any(found.transfers.values())


def test_certificates_are_in_it_by_name_and_date(cluster: Cluster, archive: Archive) -> None:
    text = archive.texts[f"{cluster.master.name}/certificates.txt"]
    for path in (
        "ca.crt",
        "etcd/ca.crt",
        "apiserver.crt",
        "etcd/server.crt",
        "admin.crt",
        "kubelet-client-current.pem",
    ):
        assert f"/{path}\n  subject " in text
    assert "BEGIN CERT" not in text


@pytest.mark.promise("no-secret-leaks")
def test_no_key_of_any_host_is_in_it_or_in_the_loudest_output(cluster: Cluster, archive: Archive) -> None:
    everything = "\n".join((*archive.texts.values(), archive.run.text))
    for host in cluster.hosts:
        for path, piece in secrets(host).items():
            assert not shows(everything, piece), f"{host.name}: {path} is seen"
    assert "PRIVATE KEY-----" not in everything


@pytest.mark.promise("no-secret-leaks")
def test_no_token_is_in_it(cluster: Cluster, archive: Archive) -> None:
    everything = "\n".join((*archive.texts.values(), archive.run.text))
    found = [token for host in cluster.hosts for token in tokens(host).values()]
    pieces = [part for token in found for part in token.split(".") if len(part) > 20]
    assert pieces
    assert [piece for piece in pieces if piece in everything and not piece.startswith("eyJhbGci")] == []
    assert "eyJhbGci" not in everything


def test_what_is_the_users_alone_is_not_in_it(archive: Archive) -> None:
    everything = "\n".join((*archive.texts.values(), archive.run.text))
    for value in (ENVIRONMENT, ARGUMENT, IN_SECRET, IN_CONFIG):
        for form in (value, base64.b64encode(value.encode()).decode()):
            assert form not in everything
    assert THEIRS in everything


@pytest.mark.promise("no-secret-leaks")
def test_what_a_program_logged_carelessly_is_redacted(cluster: Cluster, archive: Archive) -> None:
    for host in cluster.hosts:
        text = archive.texts[f"{host.name}/units/docker.log"]
        assert LOGGED[-1] in text
        for piece in ("hunter2", "hunter3", "eyJ", "c2lnbmF0", "MC4CAQAw", "S2V5T2Z", "PRIVATE KEY-----"):
            assert piece not in text
        assert text.count("[redacted]") >= 4


def test_a_second_archive_does_not_replace_the_first(cluster: Cluster, archive: Archive) -> None:
    before = archive.path.read_bytes()
    run = cluster.product.run("evidence", "-y", data={"evidence_path": archive.path})
    assert run.code != 0
    assert f"{archive.path} is there already and is not overwritten" in run.text
    assert archive.path.read_bytes() == before


def test_collecting_changed_nothing(cluster: Cluster, archive: Archive) -> None:
    assert_empty(cluster.product.plan())


def test_a_host_without_docker_says_what_it_can(cluster: Cluster, private_things: None, tmp_path: Path) -> None:
    worker = cluster.workers[0]
    worker.run("systemctl stop docker.socket docker.service")
    try:
        archive = _collected(cluster, tmp_path / "e.tar.gz")
        archive.run.check()
        assert "docker is inactive" in archive.texts[f"{worker.name}/docker/main-info.txt"]
        assert "docker is inactive" in archive.texts[f"{worker.name}/logs/kubelet.log"]
        assert "flannel" in archive.texts[f"{worker.name}/logs/flannel.log"]
        assert worker.run("systemctl is-active docker", check=False).stdout.strip() == "inactive"  # nor was it started
    finally:
        worker.run("systemctl start docker.socket docker.service")
    cluster.wait_works()


def test_a_host_that_is_off_is_in_it_with_the_reason(cluster: Cluster, tmp_path: Path) -> None:
    worker = cluster.workers[0]
    worker.power_off()
    try:
        archive = _collected(cluster, tmp_path / "e.tar.gz")
    finally:
        worker.power_on()
    assert archive.run.code == 1
    assert "Traceback" not in archive.run.text
    reason = archive.texts[f"{worker.name}/not-collected.txt"]
    assert reason.startswith(f"{worker.name} can't be reached: ")
    assert reason.strip() in archive.texts["README.txt"]
    assert f"{cluster.master.name}/logs/kubelet.log" in archive.texts
    cluster.wait_works()
    assert_empty(cluster.product.plan())
