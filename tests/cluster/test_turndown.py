"""Turning a cluster down: with the data kept, and to the last file. Last: it ends the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.hosts import Host

from . import listing, neighbours
from .cluster import BOOTSTRAP, Cluster, pod
from .listing import Listing
from .neighbours import CONTAINERS
from .product import PURGE, assert_empty
from .report import Figure
from .shown import blocks
from .test_foreign import LIMIT, figures
from .test_security import pieces, shows
from .waiting import until

pytestmark = pytest.mark.core

KEPT = "/mnt/kept"
OURS = ("etcd", "flannel", "kubelet")


def _whole(cluster: Cluster) -> None:
    for host in cluster.hosts:
        neighbours.run_errand(host)  # earlier tests have rebooted it


def _things(host: Host) -> set[str]:
    """Every single thing on a host that a purge takes away: what it is called in a plan."""
    script = (
        "docker ps -a --format '{{.Names}}'; "
        "docker images --format '{{.Repository}}:{{.Tag}}' | grep -xFf /var/lib/docker-multinode/images; "
        f"{BOOTSTRAP} ps -a --format '{{{{.Names}}}}'; cat /var/lib/docker-multinode/files; "
        "awk '$5 ~ \"^(/var/lib/kubelet|/run/bootstrap-docker|/var/lib/bootstrap-docker)/\"{print $5}' "
        "/proc/self/mountinfo; for c in iptables ip6tables; do $c-save; done | "
        "grep -oE '^:(KUBE|FLANNEL)-[^ ]*' | cut -c2-"
    )
    found = set(host.run(script).stdout.splitlines()) - set(CONTAINERS)
    # their names stand in many paths, too
    found = {f"stop and remove container {thing} from" if thing in OURS else thing for thing in found}
    return found | {"flannel.1", "docker-boot0", "stop and disable the bootstrap daemon"}


def test_the_plan_names_every_thing_that_goes(cluster: Cluster) -> None:
    _whole(cluster)
    plan = cluster.product.plan("turndown", data=PURGE).check()
    for host in cluster.hosts:
        things = _things(host)
        said = [line for name, title, below in blocks(plan) if name == host.name for line in (title, *below)]
        assert len(things) > 60
        missing = {thing for thing in things if not any(thing in line for line in said)}
        # files of the record and the kubelet's keys go with their directories
        within = ("/var/lib/docker-multinode/", "/var/lib/kubelet/pki/")
        assert {thing for thing in missing if not thing.startswith(within)} == set()


def test_the_plan_says_what_stays_and_why(cluster: Cluster) -> None:
    kept = "\n".join(cluster.product.plan("turndown").check().diff)
    for words in (
        "/var/lib/etcd: the cluster's objects",
        "/etc/kubernetes/pki/ca.key: ",
        "subnet.env: the node's subnet",
    ):
        assert words in kept
    assert "the cluster's objects" not in "\n".join(cluster.product.plan("turndown", data=PURGE).diff)


def test_a_plan_to_turn_down_changes_nothing(cluster: Cluster) -> None:
    before = [listing.identity(listing.take(host)) for host in cluster.hosts]
    plan = cluster.product.plan("turndown", data=PURGE).check()
    assert {name for hosts in plan.changes.values() for name in hosts} == {host.name for host in cluster.hosts}
    assert [listing.identity(listing.take(host)) for host in cluster.hosts] == before


@pytest.mark.promise("turndown-then-install")
@pytest.mark.promise("foreign-containers-survive")
def test_data_outlives_a_turndown_and_a_new_install(
    cluster: Cluster, theirs: dict[str, list[str]], figure: Figure
) -> None:
    cluster.kubectl("create", "configmap", "memory", "--from-literal=of=before")
    cluster.apply(_saver(cluster.workers[0]))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=50s", "pod/saver")
    authority = _authorities(cluster)
    subnets = [host.read("/var/lib/docker-multinode/subnet.env") for host in cluster.hosts]
    with neighbours.probed(cluster.hosts) as answers:
        run = cluster.product.apply("turndown").check()
    figure("seconds: turndown, data kept", run.seconds)
    figures("a turndown", answers, cluster, figure)
    for host in cluster.hosts:
        assert answers[host.name].gaps <= 2, "Docker restarts twice"
        assert answers[host.name].seconds < LIMIT
        until("the user's containers", 60, lambda host=host: neighbours.run_on(host))  # type: ignore[misc]
        assert neighbours.belongings(host) == theirs[host.name]
    for host in cluster.hosts:
        names = host.run("docker ps -a --format '{{.Names}}'").stdout.split()
        assert sorted(names) == sorted(CONTAINERS)
        assert (
            "--bip" not in host.run("tr '\\0' ' ' < /proc/$(systemctl show docker -p MainPID --value)/cmdline").stdout
        )
        assert host.run("systemctl is-active docker-bootstrap", check=False).stdout.strip() == "inactive"
    assert cluster.workers[0].read(f"{KEPT}/last") == "saved\n", "a pod was killed that saves what it has when it ends"
    assert_empty(cluster.product.plan("turndown"))
    run = cluster.product.apply().check()
    figure("seconds: new install on the kept data", run.seconds)
    assert _authorities(cluster) == authority
    assert [host.read("/var/lib/docker-multinode/subnet.env") for host in cluster.hosts] == subnets
    assert cluster.get("configmap", "memory")[0]["data"] == {"of": "before"}
    cluster.delete("pod", "saver")
    cluster.workers[0].run(f"rm -r {KEPT}")
    cluster.deploy_web()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


def _saver(host: Host) -> dict[str, Any]:
    """A pod that writes to its volume when it is told to end."""
    command = "trap 'sleep 3; echo saved > /kept/last; exit 0' TERM; sleep infinity & wait"
    found = pod("saver", host.name, command, volumeMounts=[{"name": "kept", "mountPath": "/kept"}])
    found["spec"]["volumes"] = [{"name": "kept", "hostPath": {"path": KEPT}}]
    return found


def _authorities(cluster: Cluster) -> str:
    """Hashes of the authorities, of the service accounts' keys, and of all their private keys."""
    files = " ".join(f"{name}.*" for name in ("ca", "etcd/ca", "front-proxy-ca", "sa"))
    found = cluster.master.run(f"cd /etc/kubernetes/pki && sha256sum {files}").stdout
    assert found.count("\n") == 8
    return found


@pytest.mark.promise("turndown-leaves-nothing")
@pytest.mark.promise("no-secret-leaks")
def test_a_purge_leaves_the_host_as_it_was(cluster: Cluster, before: dict[str, Listing], figure: Figure) -> None:
    _whole(cluster)
    keys = [piece for host in cluster.hosts for piece in pieces(host).values()]
    run = cluster.product.run("turndown", "-y", "-vvv", "--diff", data=PURGE).check()
    figure("seconds: turndown, data purged", run.seconds)
    assert keys
    assert not any(shows(run.text, piece) for piece in keys)
    for _ in range(2):
        for host in cluster.hosts:
            listing.assert_same(before[host.name], listing.take(host))
        assert_empty(cluster.product.plan("turndown", data=PURGE))
        cluster.product.apply("turndown", data=PURGE).check()  # again, with nothing to do


def test_a_new_install_after_a_purge_works(cluster: Cluster) -> None:
    cluster.product.apply().check()
    cluster.deploy_web()
    cluster.wait_works()
    assert cluster.kubectl("get", "configmap", "memory", "--ignore-not-found") == ""
