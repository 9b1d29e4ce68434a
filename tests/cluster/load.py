"""A client that does one request after another, and what it got."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from tests.lab.hosts import Host

from .cluster import Cluster, web
from .waiting import until

REQUESTS = (
    "touch {flag}; while [ -e {flag} ]; do begin=$EPOCHREALTIME; "
    "name=$(curl -fsS -m 2 {url} 2>/dev/null); echo $begin $EPOCHREALTIME $name; sleep 0.05; done"
)


@dataclass(frozen=True)
class Request:
    """One request.

    :param begin: seconds, by the client's clock.
    :param end: seconds, by the client's clock.
    :param answer: what came back; empty for a lost one.
    """

    begin: float
    end: float
    answer: str


@dataclass
class Load:
    """What a client got; filled when the block of `requests` ends."""

    done: list[Request] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Requests that were refused, cut off or not answered within 2 s."""
        return len(self._lost)

    @property
    def silence(self) -> float:
        """The longest time in seconds from one answer to the next."""
        ends = [request.end for request in self.done if request.answer]
        ends = [self.done[0].begin, *ends, self.done[-1].end]
        return max(after - before for before, after in pairwise(ends))

    @property
    def trouble(self) -> float:
        """The time in seconds from the first lost request to the end of the last."""
        return self._lost[-1].end - self._lost[0].begin if self._lost else 0.0

    @property
    def _lost(self) -> list[Request]:
        return [request for request in self.done if not request.answer]


@contextmanager
def requests(cluster: Cluster, host: Host, url: str) -> Iterator[Load]:
    """Within it, a pod of a host asks for a URL again and again."""
    pod, load = web(host), Load()
    flag = f"/tmp/asks-{url.split('/')[2]}"
    of_pod = f"--filter label=io.kubernetes.pod.name={pod} --filter label=io.kubernetes.container.name=client"
    command = f"docker exec $(docker ps -q {of_pod}) bash -c '{REQUESTS.format(flag=flag, url=url)}'"
    client = subprocess.Popen((*host.ssh(), command), stdout=subprocess.PIPE, text=True)
    try:
        until("the client to ask", 30, lambda: cluster.in_pod(host, pod, f"test -e {flag} && echo asks"))
        yield load
    finally:
        cluster.in_pod(host, pod, f"rm -f {flag}")
        out, _ = client.communicate(timeout=30)
        for line in out.splitlines():
            begin, end, *answer = line.split()
            load.done.append(Request(float(begin), float(end), " ".join(answer)))
