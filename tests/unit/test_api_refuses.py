"""An API that refuses is told from one that does not answer."""

from __future__ import annotations

import pytest

from deploys.facts.daemons import DaemonsFact
from deploys.facts.kubernetes import Objects
from deploys.operations.kubernetes import objects

from .harness import World
from .known import daemons

INVALID = (
    'The Service "kube-dns" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.53"]: may not change once set'
)
FORBIDDEN = 'Error from server (Forbidden): deployments.apps "x" is forbidden: exceeded quota'


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        (INVALID, True),
        (FORBIDDEN, True),
        ("Error from server (ServiceUnavailable): the server is currently unable to handle the request", False),
        ("Error from server (Timeout): the server was unable to return a response", False),
        ("The connection to the server 10.0.0.11:6443 was refused - did you specify the right host or port?", False),
        ("Unable to connect to the server: net/http: TLS handshake timeout", False),
        ("Error response from daemon: No such container: kubelet", False),
    ],
)
def test_the_plan_says_whether_the_api_refuses_or_does_not_answer(line: str, refused: bool) -> None:
    state = Objects().process(["== rc 2", "== diff", line, "== labelled", "== end"])
    assert (state.answers, state.refused) == (False, refused)
    here = World(facts={Objects: state, DaemonsFact: daemons()})
    said = here.says(objects, manifest="kind: x\n", addons=(), limit=60)
    words = "it refuses these objects" if refused else "it does not answer"
    assert f"Unknown what will change in the API, {words}: {line}" in said
