"""Runs that die at each operation: the next one simply goes on. After all others: it takes the cluster down and up.

A run is killed right after operation k began, the next one right after k+1 did, and so on: each finds what the
one before left half done. At some operations the ssh connections are cut instead.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.lab.hosts import Host

from . import listing, neighbours
from .cluster import ETCDCTL, Cluster
from .listing import Listing
from .product import PURGE, Data, Product, assert_empty
from .report import Figure
from .waiting import until

DELAYS = (0.0, 0.3, 1.0)
"""Seconds between the start of an operation and the end of its run, in turn: before its command, and amid it."""
CUT_EACH = 5
"""At each fifth operation the connections are cut, in turn with each delay; pyinfra itself then has to end."""
SSH_FAILED = 255
"""Exit code of ssh itself: its connection has ended before the command did."""
HUNG = 300
"""Seconds after which a run that nobody disturbs any more counts as hung."""

_BEGUN = re.compile(r"Starting operation: (.+)")


@dataclass
class Walk:
    """Runs of one deploy, each ended at the first operation at which none has been ended yet."""

    product: Product
    entry: str
    hosts: Sequence[Host]
    data: Data | None = None
    options: Sequence[str] = ()
    ended_at: list[str] = field(default_factory=list)
    """The operations at which a run was ended, in order."""
    cut: dict[str, int] = field(default_factory=dict)
    """Those of them at which the connections were cut → the exit code of that run."""

    def go(self) -> None:
        """Run until a run goes through.

        :raises AssertionError: a run failed by itself, or none goes through.
        """
        while self._is_ended():
            assert len(self.ended_at) < 100, f"no end of operations: {self.ended_at}"

    def _is_ended(self) -> bool:
        """Run once; False where nothing was left to disturb and the run succeeded."""
        with self.product.started(self.entry, *self.options, data=self.data) as run:
            said: list[str] = []
            for operation in _begun(run, said):
                if operation not in self.ended_at:
                    self._end(run, operation)
                    return True
            assert run.wait(HUNG) == 0, f"after {self.ended_at[-1:]} the run failed:\n" + "".join(said[-60:])
        return False

    def _end(self, run: subprocess.Popen[str], operation: str) -> None:
        self.ended_at.append(operation)
        time.sleep(DELAYS[len(self.ended_at) % len(DELAYS)])
        if len(self.ended_at) % CUT_EACH:
            run.kill()
            run.communicate()
            return
        with ThreadPoolExecutor() as pool:
            for host, was_cut in zip(self.hosts, pool.map(_cut, self.hosts), strict=True):
                assert was_cut, f"at {operation} no connection to {host.name} was cut"
        # a run that was through with its commands may end well; whether it tells the truth the next ones show
        _, rest = run.communicate(timeout=HUNG)
        assert run.returncode in (0, 1), f"cut at {operation}: exit code {run.returncode}"
        self.cut[operation] = run.returncode
        assert "Traceback" not in rest, f"cut at {operation}:\n{rest[-4000:]}"


def _begun(run: subprocess.Popen[str], said: list[str]) -> Iterator[str]:
    """The operations of a run as they begin; all lines go to `said`."""
    assert run.stderr is not None
    for line in run.stderr:
        said.append(line)
        if found := _BEGUN.search(re.sub(r"\x1b\[[\d;]*m", "", line)):
            yield found[1].strip()


def _cut(host: Host) -> bool:
    """Cut all connections to a host; whether the one that asked for it was cut too, and so the others."""
    return host.run("pkill -KILL -x sshd-session", check=False).returncode == SSH_FAILED


@pytest.mark.promise("interrupt-at-every-operation")
def test_a_worker_that_leaves_by_a_turndown_that_is_ended_at_every_operation_is_gone(
    cluster: Cluster, before: dict[str, Listing], figure: Figure
) -> None:
    """It is drained then, and leaves its marks on a cluster that goes on."""
    worker = cluster.workers[0]
    neighbours.run_errand(worker)
    begin = time.monotonic()
    walk = Walk(cluster.product, "turndown", [worker], PURGE, ("--limit", worker.name))
    walk.go()
    _figures(walk, figure, begin, "a worker leaves")
    assert any("Drain" in name for name in walk.ended_at)
    assert [node["metadata"]["name"] for node in cluster.get("nodes")] == [cluster.master.name]
    assert worker.name not in cluster.master.run(f"{ETCDCTL} get --prefix /docker-multinode/subnets/").stdout
    listing.assert_same(before[worker.name], listing.take(worker))
    assert_empty(cluster.product.plan("turndown", "--limit", worker.name, data=PURGE))
    assert_empty(cluster.product.plan("cluster", "--limit", cluster.master.name))
    cluster.product.apply().check()


@pytest.mark.promise("interrupt-at-every-operation")
def test_a_turndown_that_is_ended_at_every_operation_leaves_the_host_as_it_was(
    cluster: Cluster, before: dict[str, Listing], figure: Figure
) -> None:
    for host in cluster.hosts:
        neighbours.run_errand(host)
    begin = time.monotonic()
    walk = Walk(cluster.product, "turndown", cluster.hosts, PURGE)
    walk.go()
    _figures(walk, figure, begin, "turndown")
    assert any("Drain" in name for name in walk.ended_at)
    assert any("Remove the record" in name for name in walk.ended_at)
    for host in cluster.hosts:
        listing.assert_same(before[host.name], listing.take(host))
    assert_empty(cluster.product.plan("turndown", data=PURGE))
    _neighbours_run(cluster)


@pytest.mark.promise("interrupt-at-every-operation")
def test_an_install_that_is_ended_at_every_operation_becomes_a_cluster_that_works(
    cluster: Cluster, figure: Figure
) -> None:
    begin = time.monotonic()
    walk = Walk(cluster.product, "cluster", cluster.hosts)
    walk.go()
    _figures(walk, figure, begin, "cluster")
    assert any("Check DNS" in name for name in walk.ended_at)
    assert_empty(cluster.product.plan())
    cluster.deploy_web()
    cluster.wait_works()
    _neighbours_run(cluster)


@pytest.mark.promise("two-runs-at-once")
def test_a_run_that_was_frozen_loses_its_lock_and_then_changes_nothing_more(cluster: Cluster) -> None:
    """As where a laptop is closed amid a run: another run may begin after a minute, and has the hosts for itself."""
    with cluster.product.started("cluster", data={"kubelet_extra_args": {"v": "4"}}) as frozen:
        next(_begun(frozen, []))
        frozen.send_signal(signal.SIGSTOP)
        try:
            refused = cluster.product.apply()
            assert refused.code != 0
            assert f"(process {frozen.pid}), since 20" in refused.stderr
            until("the lock to end", 90, lambda: cluster.product.apply().check(), every=5)
        finally:
            frozen.send_signal(signal.SIGCONT)
        _, said = frozen.communicate(timeout=HUNG)
    assert frozen.returncode != 0
    assert "its lock has ended" in said
    assert "Traceback" not in said
    assert_empty(cluster.product.plan())


def _figures(walk: Walk, figure: Figure, begin: float, what: str) -> None:
    print("\n".join(f"{name}{' (cut)' if name in walk.cut else ''}" for name in walk.ended_at))
    figure(f"runs ended at an operation each: {what}", len(walk.ended_at))
    figure(f"seconds: {what}, ended at every operation", time.monotonic() - begin)
    assert 1 in walk.cut.values(), f"no run noticed that its connections were cut: {walk.cut}"


def _neighbours_run(cluster: Cluster) -> None:
    for host in cluster.hosts:
        until(f"the user's containers on {host.name}", 60, lambda host=host: neighbours.run_on(host))  # type: ignore[misc]
