"""A run that has nothing to do: against the least that pyinfra can do, and over many hosts."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.product import Product, counted, log_sessions, pyinfra

from . import stand_ins
from .cold import Bench, say
from .ratios import Ratio, Series

NOOP_GOAL = 3
MANY_GOAL = 3
MANY = {20: MANY_GOAL, 50: None}
"""Hosts of a run → how much longer than with one host it should take at most."""

_TRUE = """\
from pyinfra import host
from pyinfra.facts.server import Command

from deploys.roles import _begin

_begin()
for _ in range({count}):
    host.get_fact(Command, command="true")
"""


@dataclass
class Cost:
    """Processor seconds of one run, on the control machine and on the hosts of the lab."""

    control: float
    hosts: float


def trivial(product: Product) -> Callable[[], object]:
    """A run of pyinfra that asks the same hosts for one fact."""
    words = (pyinfra(), str(product.inventory), "fact", "server.Hostname")
    return lambda: subprocess.run(words, cwd=product.cwd, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def measure(bench: Bench, rounds: int) -> list[Ratio]:
    """A run without changes over the fact, in turns."""
    noop, fact = Series("a run without changes"), Series("one fact")
    for _ in range(rounds):
        noop.measure(lambda: bench.product.apply().check())
        fact.measure(trivial(bench.product))
    say(f"no-op: {noop.median:.1f} s, one fact: {fact.median:.1f} s")
    return [Ratio("no-op run on both", noop, fact, NOOP_GOAL)]


def executions(bench: Bench) -> int:
    """How often a run without changes asks the host that it asks most."""
    for host in bench.hosts:
        log_sessions(host)
    with counted(bench.hosts) as sessions:
        bench.product.apply().check()
    return max(sessions.executions.values())


def many(bench: Bench, folder: Path, rounds: int) -> list[Ratio]:
    """A run without changes over the master and stand-ins, against the master alone: where they share the processors
    of one machine, and where their answers are played back, as if each had its own. And the same number of executions
    of `true`, which is what sshd and pyinfra cost by themselves."""
    master, worker = bench.hosts
    count, most = executions(bench), max(MANY) - 1
    say(f"{count} executions a host; making {most} stand-ins")
    every = _product(bench, stand_ins.inventory(folder / "all.py", master, worker, most))
    stand_ins.settle(bench.cluster, every, most)
    only = (folder / "true.py").resolve()
    only.write_text(_TRUE.format(count=count))
    products = {
        number: _product(bench, stand_ins.inventory(folder / f"{number}.py", master, worker, number - 1))
        for number in (1, *MANY)
    }
    trues = {number: Series(f"`true` {count} times") for number in products}
    shared = _alike(bench, products, rounds, lambda n: trues[n].measure(lambda: _true(products[n], only)))
    say("asking each stand-in alone")
    with stand_ins.played_back(worker, every, most):
        own = _alike(bench, products, rounds)
    return [
        *(Ratio(f"no-op run on {n} hosts", shared[n], shared[1], goal) for n, goal in MANY.items()),
        *(Ratio(f"the same, hosts as quick as each alone, {n} hosts", own[n], own[1]) for n in MANY),
        *(Ratio(f"the same, of sshd and pyinfra alone, {n} hosts", shared[n], true) for n, true in trues.items()),
    ]


def _alike(
    bench: Bench, products: Mapping[int, Product], rounds: int, then: Callable[[int], object] = lambda _: None
) -> dict[int, Series]:
    """Runs without changes over each number of hosts, in turns.

    :param then: what is measured beside each of them, by the number of its hosts.
    """
    found = {number: Series(f"{number} hosts" if number > 1 else "one host") for number in products}
    costs: dict[int, Cost] = {}
    for _ in range(rounds):
        for number, product in products.items():
            costs[number] = _cost(bench, lambda p=product, s=found[number]: s.measure(lambda: p.apply().check()))  # type: ignore[misc]
            then(number)
    for number, cost in costs.items():
        say(f"{number} hosts: processor seconds: {cost.control:.1f} on the control machine, {cost.hosts:.1f} on hosts")
    return found


def _product(bench: Bench, inventory: Path) -> Product:
    return Product(inventory, dict(bench.product.data))


def _true(product: Product, deploy: Path) -> None:
    words = (pyinfra(), str(product.inventory), str(deploy), "-y")
    subprocess.run(words, cwd=product.cwd, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _cost(bench: Bench, call: Callable[[], object]) -> Cost:
    def now() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        hosts = sum(float(h.run("cat /sys/fs/cgroup/cpuacct/cpuacct.usage").stdout) / 1e9 for h in bench.hosts)
        return used.ru_utime + used.ru_stime, hosts

    before = now()
    call()
    after = now()
    return Cost(after[0] - before[0], after[1] - before[1])
