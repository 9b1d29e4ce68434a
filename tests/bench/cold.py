"""Cold install and turndown of a master and a worker: the product and the scripts in turns, on fresh hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster import node_image
from tests.cluster.cluster import Cluster
from tests.cluster.product import Product
from tests.cluster.waiting import until
from tests.lab.hosts import Host
from tests.lab.lab import Lab

from . import by_hand, operations
from .ratios import Ratio, Series

INSTALL_GOAL = 1.25
TURNDOWN_GOAL = 1.25


def say(text: str) -> None:
    """A line of progress, on stderr: stdout is for the result."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)


class Bench:
    """A master and a worker in the lab, and what brings them up."""

    def __init__(self, lab: Lab, names: Sequence[str], docker: str, folder: Path) -> None:
        self._lab, self._names, self._docker = lab, names, docker
        self.timed: dict[str, list[operations.Timed]] = {"cluster": [], "turndown": []}
        self.hosts = self.fresh()
        self.product = Product(lab.inventory(folder / "inventory.py", self.hosts[:1], self.hosts[1:]))
        self._take_ready_made_image()
        self.scripts = by_hand.prepare(folder / "by-hand", self.product.plan().check(), self.hosts)

    def fresh(self) -> list[Host]:
        """Throw the hosts away and start them anew: nothing is on them but Docker."""
        return [self._lab.host(name, docker=self._docker, fresh=True) for name in self._names]

    def up(self, data: dict[str, object]) -> None:
        """A cluster by the product with these settings, on fresh hosts."""
        self.product.data |= data
        self.hosts = self.fresh()
        self.product.apply().check()
        self.check_up()

    @property
    def cluster(self) -> Cluster:
        """Ways to look at what is up."""
        return Cluster(self.hosts[0], tuple(self.hosts[1:]), self.product)

    def _take_ready_made_image(self) -> None:
        image = node_image.of_plan(self.product.plan())
        if not node_image.is_published(image):
            say("the lab has no node image yet: one install builds it")
            self.product.apply().check()
            node_image.publish(self.hosts[0], image)
            self.hosts = self.fresh()
        self.product.data["node_image"] = node_image.in_registry(image)

    def check_up(self) -> None:
        """Both nodes and all pods become Ready.

        :raises AssertionError: they do not.
        """
        until("nodes and pods to be Ready", 240, self.cluster.ready, every=1)

    def check_down(self) -> None:
        """Nothing of the cluster runs any more, and docker0 left the pod network.

        :raises AssertionError: something does.
        """
        for host in self.hosts:
            left = host.run(
                "docker ps -aq; systemctl is-active docker-bootstrap; ip -4 -o addr show docker0", check=False
            )
            assert left.stdout.split()[0] in ("inactive", "failed"), f"{host.name}: {left.stdout}"
            assert " 10.1." not in left.stdout, f"{host.name}: {left.stdout}"


def measure(bench: Bench, rounds: int) -> list[Ratio]:
    """Up and down, ours and theirs in turns; who is first changes each round."""
    up, up_by_hand = Series("deploys/cluster.py"), Series("the scripts")
    down, down_by_hand = Series("deploys/turndown.py"), Series("the scripts")

    def product(entry: str) -> Callable[[], object]:
        return lambda: bench.timed[entry].append(operations.run(bench.product, entry))

    def script(step: str) -> Callable[[], object]:
        return lambda: bench.scripts.run(step)

    ours = (up, product("cluster"), down, product("turndown"))
    theirs = (up_by_hand, script("up"), down_by_hand, script("down"))
    for number in range(rounds):
        for ups, bring_up, downs, take_down in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            bench.hosts = bench.fresh()
            say(f"round {number + 1}, up by {ups.name}: {ups.measure(bring_up):.1f} s")
            bench.check_up()
            say(f"round {number + 1}, down by {downs.name}: {downs.measure(take_down):.1f} s")
            bench.check_down()
    return [
        Ratio("cold install of a master and a worker", up, up_by_hand, INSTALL_GOAL),
        Ratio("turndown of both, data kept", down, down_by_hand, TURNDOWN_GOAL),
    ]
