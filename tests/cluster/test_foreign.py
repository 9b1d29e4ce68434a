"""What a host does besides: the user's containers, networks, rules and units outlive us. The turndown's share of it
is in test_turndown."""

from __future__ import annotations

import pytest

from . import neighbours
from .cluster import Cluster
from .neighbours import WITHOUT_POLICY, Answers
from .product import assert_empty
from .report import Figure
from .waiting import until

pytestmark = pytest.mark.promise("foreign-containers-survive")


LIMIT = 60
"""Seconds after which a container that is not back counts as lost; the rest of an install takes longer."""


def figures(what: str, found: dict[str, Answers], cluster: Cluster, figure: Figure) -> None:
    """Keep what a user's client saw of each host."""
    for host in cluster.hosts:
        answers = found[host.name]
        of = f"{what}, a user's container on the {'master' if host is cluster.master else 'worker'}"
        assert answers.requests > 5
        figure(f"requests done: {of}", answers.requests)
        figure(f"requests lost: {of}", answers.lost)
        figure(f"seconds without an answer: {of}", answers.seconds)


def test_an_install_stops_them_once_by_the_restart_that_it_announces(
    cluster: Cluster, during_install: dict[str, Answers], untouched: None, figure: Figure
) -> None:
    figures("an install", during_install, cluster, figure)
    for host in cluster.hosts:
        assert during_install[host.name].gaps <= 1
        assert during_install[host.name].seconds < LIMIT, "it was not back once Docker was"


def test_they_run_on_beside_a_cluster_as_the_same_ones(cluster: Cluster, theirs: dict[str, list[str]]) -> None:
    for host in cluster.hosts:
        assert neighbours.run_on(host)
        assert neighbours.belongings(host) == theirs[host.name]


def test_one_that_docker_would_not_start_again_was_started_by_the_run(cluster: Cluster, untouched: None) -> None:
    for host in cluster.hosts:
        assert WITHOUT_POLICY in host.run("docker ps --format '{{.Names}}'").stdout.split()


def test_a_second_run_loses_no_request(cluster: Cluster, figure: Figure) -> None:
    with neighbours.probed(cluster.hosts) as found:
        cluster.product.apply().check()
    figures("a second run", found, cluster, figure)
    assert [answers.lost for answers in found.values()] == [0, 0]


def test_a_changed_setting_loses_no_request_where_docker_does_not_restart(cluster: Cluster, figure: Figure) -> None:
    with neighbours.probed(cluster.hosts) as found:
        cluster.product.apply(data={"kubelet_extra_args": {"v": "3"}}).check()
        cluster.product.apply().check()
    figures("a changed setting", found, cluster, figure)
    assert [answers.lost for answers in found.values()] == [0, 0]
    assert_empty(cluster.product.plan())
    cluster.wait_works()


def test_a_restart_that_is_due_starts_again_what_it_stops(cluster: Cluster, theirs: dict[str, list[str]]) -> None:
    worker = cluster.workers[0]
    worker.run("rm /etc/systemd/system/docker.service.d/zz-docker-multinode.conf && systemctl daemon-reload")
    worker.run("systemctl restart docker")
    neighbours.run_errand(worker)
    refused = cluster.product.apply(data={"allow_docker_restart": False})
    assert refused.code != 0
    assert f"the main Docker must be restarted, and {WITHOUT_POLICY} would stay down" in refused.stderr
    cluster.product.apply().check()
    until("the user's containers", 60, lambda: neighbours.run_on(worker))
    assert WITHOUT_POLICY in worker.run("docker ps --format '{{.Names}}'").stdout.split()
    assert neighbours.belongings(worker) == theirs[worker.name]
    cluster.wait_works()
