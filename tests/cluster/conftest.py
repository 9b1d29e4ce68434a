"""One cluster for most tests: fresh hosts, their listing, the plan, the install; at the end the hosts go.

DOCKER=26|28|mixed   the hosts' Docker (26)
HOSTS=n11,n12,n13    names of the master, the worker and a spare host, so that two of these can run side by side
KEEP=1               leave the hosts at the end, and take the ones that an earlier KEEP=1 left
LAB_BUILD=0          do not look whether every image of the lab is built
REPORT=path          write figures there as JSON
PRODUCT=path         test the deploys/ of another checkout (this one's)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.paths import REGISTRY, RUN

from . import listing, neighbours, node_image
from .cluster import Cluster
from .listing import Listing
from .neighbours import Answers
from .product import Product, Run, assert_empty, log_sessions
from .report import Figure, Report

DOCKERS = {"26": ("26", "26"), "28": ("28", "28"), "mixed": ("26", "28")}
MASTER, WORKER, SPARE = os.environ.get("HOSTS", "n11,n12,n13").split(",")
ORDER = (
    "plan",
    "install",
    "foreign",
    "paths",
    "security",
    "network",
    "settings",
    "drift",
    "status",
    "evidence",
    "backup",
    "certificates",
    "members",
    "disk_full",
    "garbage",
    "roles",
    "reboot",
    "kills",
    "faults",
    "failures",
    "leaving",
    "not_ours",
    "turndown",
    "interrupted",
)
"""Modules in the order in which one cluster can go through them: from untouched hosts to turned down ones."""

_KEPT = RUN / f"cluster-tests-{MASTER}.json"
_REPORT = pytest.StashKey[Report]()


def docker_choice() -> str:
    """The value of DOCKER."""
    choice = os.environ.get("DOCKER", "26")
    if choice not in DOCKERS:
        raise pytest.UsageError(f"DOCKER is {choice!r}; write one of {', '.join(DOCKERS)}")
    return choice


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, make the report."""
    config.addinivalue_line("markers", "core: belongs to `make test`; the others run in `make test-all`")
    docker_choice()  # a wrong one is refused at once
    config.stash[_REPORT] = Report()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the modules by ORDER; the tests of one stay as they are written."""
    items.sort(key=lambda item: ORDER.index(name) if (name := _module(item)) in ORDER else -1)


def _module(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep what each test measured, and show how one failed."""
    item.user_properties += [("figure", name) for name in item.config.stash[_REPORT].new_figures()]
    result = yield
    if result.failed:  # type: ignore[attr-defined]
        # at once, for these runs are long and may be cut off
        print("\n".join(result.longreprtext.splitlines()[-25:]), file=sys.__stdout__, flush=True)  # type: ignore[attr-defined]
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report."""
    if session.config.stash[_REPORT].figures:
        session.config.stash[_REPORT].write()


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Figure:
    """Keep a measured number in the report: figure("seconds until the worker is back", 12.3)."""
    return pytestconfig.stash[_REPORT].figure


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab with all that its catalogue lists; it stays up."""
    return Lab.up(build=os.environ.get("LAB_BUILD") != "0")


@pytest.fixture(scope="session")
def hosts(lab: Lab) -> Iterator[tuple[Host, Host]]:
    """A master and a worker, fresh, with things on them that are not ours."""
    pair = DOCKERS[docker_choice()]
    kept = _kept(lab)
    if kept is None:
        _KEPT.unlink(missing_ok=True)
        both = lab.host(MASTER, docker=pair[0], fresh=True), lab.host(WORKER, docker=pair[1], fresh=True)
        for host in both:
            log_sessions(host)
            neighbours.settle(host)
    else:
        both = lab.host(MASTER), lab.host(WORKER)
    yield both
    if not os.environ.get("KEEP"):
        for host in both:
            host.remove()
        _KEPT.unlink(missing_ok=True)


def _kept(lab: Lab) -> dict[str, dict[str, tuple[str, ...]]] | None:
    """Listings of hosts that an earlier KEEP=1 left, if they are there and have the Docker that is asked for."""
    there = lab.hosts()
    if not os.environ.get("KEEP") or not _KEPT.exists() or MASTER not in there or WORKER not in there:
        return None
    if (there[MASTER].docker, there[WORKER].docker) != DOCKERS[docker_choice()]:
        return None
    raw = json.loads(_KEPT.read_text())
    return {host: {section: tuple(lines) for section, lines in found.items()} for host, found in raw.items()}


@pytest.fixture(scope="session")
def was_there(hosts: tuple[Host, Host]) -> bool:
    """Whether the hosts were kept from an earlier run and are nodes already."""
    return hosts[0].run("test -e /var/lib/docker-multinode", check=False).returncode == 0


@pytest.fixture
def untouched(was_there: bool) -> None:
    """For tests of the first plan: they are skipped where there was none."""
    if was_there:
        pytest.skip("the hosts were kept from an earlier run (KEEP=1)")


@pytest.fixture(scope="session")
def before(lab: Lab, hosts: tuple[Host, Host]) -> dict[str, Listing]:
    """Host → its listing before the product was ever there."""
    kept = _kept(lab)
    found: dict[str, Listing] = dict(kept) if kept else {host.name: listing.take(host) for host in hosts}
    if os.environ.get("KEEP"):
        _KEPT.write_text(json.dumps(found))
    return found


@pytest.fixture(scope="session")
def inventory(lab: Lab, hosts: tuple[Host, Host], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory of both."""
    path = tmp_path_factory.mktemp("cluster") / "inventory.py"
    return lab.inventory(path, masters=[hosts[0]], workers=[hosts[1]])


@pytest.fixture(scope="session")
def product(hosts: tuple[Host, Host], inventory: Path, before: dict[str, Listing], was_there: bool) -> Product:
    """The product on both hosts, with the ready-made node image if the lab has it; nothing is installed yet."""
    product = Product(inventory)
    product.data["allow_docker_restart"] = True  # one of the user's containers has no restart policy
    if was_there:
        image = hosts[0].run("docker inspect -f '{{.Config.Image}}' kubelet").stdout.strip()
    else:
        image = node_image.of_plan(product.plan())
    if not image.startswith(REGISTRY) and node_image.is_published(image):
        image = node_image.in_registry(image)
    if image.startswith(REGISTRY):
        product.data["node_image"] = image
    return product


@pytest.fixture(scope="session")
def first_plan(product: Product) -> Run:
    """The plan for both hosts before the first install."""
    return product.plan().check()


@pytest.fixture(scope="session")
def theirs(hosts: tuple[Host, Host], before: dict[str, Listing]) -> dict[str, list[str]]:
    """Host → what is not ours on it, before the install."""
    return {host.name: neighbours.belongings(host) for host in hosts}


@pytest.fixture(scope="session")
def during_install() -> dict[str, Answers]:
    """Host → what a client of a user's container saw during the install; filled by `cluster`."""
    return {}


@pytest.fixture(scope="session")
def cluster(
    hosts: tuple[Host, Host],
    product: Product,
    first_plan: Run,
    was_there: bool,
    theirs: dict[str, list[str]],
    during_install: dict[str, Answers],
    figure: Figure,
) -> Cluster:
    """A cluster of one master and one worker that works; what a test breaks, it mends."""
    cluster = Cluster(hosts[0], (hosts[1],), product)
    ready_made = "node_image" in product.data
    if first_plan.changes:
        with neighbours.probed(hosts) as answers:
            run = product.apply().check()
        during_install.update(answers)
        what = "node image ready-made" if ready_made else "node image built on the hosts"
        what += " (an update of kept hosts)" if was_there else ""
        figure(f"seconds: install of master and worker, {what}", run.seconds)
    cluster.deploy_web()
    figure("seconds: then until pods reach each other", cluster.wait_works())
    if not ready_made and not node_image.is_published(cluster.node_image()):
        node_image.publish(cluster.master, cluster.node_image())
    return cluster


@pytest.fixture(scope="module")
def whole_again(cluster: Cluster) -> Iterator[None]:
    """Afterwards the cluster is as the other modules want it."""
    yield
    cluster.product.apply().check()
    cluster.deploy_web()
    cluster.wait_works()


@pytest.fixture
def set_back(cluster: Cluster) -> Iterator[None]:
    """The settings of before, whatever the test did, and a cluster that works with them."""
    yield
    cluster.product.apply().check()
    cluster.wait_works()
    assert_empty(cluster.product.plan())


@pytest.fixture(scope="module")
def spare(lab: Lab) -> Iterator[Host]:
    """A fresh host that belongs to no cluster, with the Docker that workers have."""
    host = lab.host(SPARE, docker=DOCKERS[docker_choice()][1], fresh=True)
    yield host
    host.remove()


@pytest.fixture(scope="module")
def alone(lab: Lab, spare: Host, tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The product with the spare host as the only master."""
    return Product(lab.inventory(tmp_path_factory.mktemp("spare") / "inventory.py", masters=[spare]))
