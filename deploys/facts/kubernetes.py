"""What the API on the first master says: nodes, and objects of ours against their wished text."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra.api import FactBase, StringCommand
from typing_extensions import override

from ..managed_fields import Taken, conflicts
from ..record import KUBERNETES
from .sections import split

KUBECTL = f"timeout 60 docker exec -i kubelet kubectl --kubeconfig {KUBERNETES}/super-admin.conf --request-timeout=20s"
MANAGER = "docker-multinode"
ADDON = "docker-multinode.io/addon"
"""Label of every object of ours: the addon that it belongs to."""
KINDS = ("deployments,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"
         "apiservices")  # fmt: skip

_NODES = (
    '{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{" "}'
    '{.metadata.labels}{"\\n"}{end}'
)
_PODS = (
    "{range .items[*]}{.metadata.namespace}/{.metadata.name} {.status.phase}{range .status.containerStatuses[*]}"
    '{" "}{.ready}{.state.waiting.reason}{end}{"\\n"}{end}'
)
_LABELLED = (
    '{range .items[*]}{.metadata.labels.docker-multinode\\.io/addon}{" "}{.kind}{" "}'
    '{.metadata.namespace}{" "}{.metadata.name}{"\\n"}{end}'
)


@dataclass(frozen=True)
class NodeState:
    """A node as the API sees it."""

    ready: bool
    labels: frozenset[str] = frozenset()
    """key=value"""


def _labels(text: str) -> frozenset[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(f"{k}={v}" for k, v in found.items()) if isinstance(found, dict) else frozenset()


class ClusterNodes(FactBase["dict[str, NodeState] | None"]):
    """The nodes that have joined; None where the API does not answer."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(f"{KUBECTL} get nodes -o jsonpath='{_NODES}' 2>/dev/null && echo '== answered'; true")

    @override
    def process(self, output: list[str]) -> dict[str, NodeState] | None:
        if "== answered" not in output:
            return None
        rows = (line.split(" ", 2) for line in output if not line.startswith("== "))
        return {
            name: NodeState(ready == "True", _labels(labels))
            for name, ready, labels in (r for r in rows if len(r) == 3)
        }


@dataclass(frozen=True)
class ObjectsState:
    """Objects of ours against their wished text."""

    answers: bool
    diff: tuple[str, ...]
    """What ``kubectl diff`` prints; empty where there is no difference."""
    error: str
    labelled: tuple[tuple[str, str, str, str], ...]
    """addon, kind, namespace, name of every object that carries our label."""
    taken: bool = False
    """Whether it would not be applied, because others have set fields of it since."""


class Objects(FactBase[ObjectsState]):
    """Objects of ours against their wished text: ``kubectl diff`` by the server."""

    @override
    def command(self, manifest: str) -> StringCommand:
        text = base64.b64encode(manifest.encode()).decode()
        return StringCommand(
            f"d=$(echo {text} | base64 -d | {KUBECTL} diff --server-side --field-manager={MANAGER} -f - 2>&1); "
            'rc=$?; echo "== rc $rc"; echo "== diff"; echo "$d"; echo "== labelled"; '
            f"[ $rc -gt 1 ] || {KUBECTL} get {KINDS} -A -l {ADDON} -o jsonpath='{_LABELLED}' 2>/dev/null; true"
        )

    @staticmethod
    @override
    def default() -> ObjectsState:  # no output at all: nothing is known
        return Objects().process([])

    @override
    def process(self, output: list[str]) -> ObjectsState:
        sections = split(output)
        diff = [line for line in sections.get("diff", []) if line.strip()]
        labelled = []
        for line in sections.get("labelled", []):
            words = line.split(" ")
            if len(words) == 4:
                labelled.append((words[0], words[1], words[2], words[3]))
        if "rc 0" in sections:
            return ObjectsState(True, (), "", tuple(labelled))
        if "rc 1" in sections and any(line.startswith(("+++", "diff ")) for line in diff):
            return ObjectsState(True, tuple(diff), "", tuple(labelled))
        return ObjectsState(False, (), " ".join(diff[-2:]), (), taken=bool(conflicts(diff)))


class TakenFields(FactBase["dict[int, tuple[Taken, ...]]"]):
    """Fields that others have set, of the object with that place among the documents; each is asked by itself.

    ``kubectl diff`` stops at the first object with such a field, and does not say which it is.
    """

    @override
    def command(self, documents: Sequence[str]) -> StringCommand:
        ask = f"{KUBECTL} apply --server-side --dry-run=server --field-manager={MANAGER} -f - 2>&1 >/dev/null"
        texts = (base64.b64encode(document.encode()).decode() for document in documents)
        calls = (f"ask {number} {text}" for number, text in enumerate(texts))
        return StringCommand(f'ask() {{ echo "== $1"; echo "$2" | base64 -d | {ask}; }}; {"; ".join(calls)}; true')

    @staticmethod
    @override
    def default() -> dict[int, tuple[Taken, ...]]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[int, tuple[Taken, ...]]:
        found = {int(name): conflicts(lines) for name, lines in split(output).items() if name.isdecimal()}
        return {number: taken for number, taken in found.items() if taken}


class Pods(FactBase["list[str] | None"]):
    """Pods that do not run as they should, with the reason; None where the API does not answer."""

    @override
    def command(self) -> StringCommand:
        return StringCommand(f"{KUBECTL} get pods -A -o jsonpath='{_PODS}' 2>/dev/null && echo '== answered'; true")

    @override
    def process(self, output: list[str]) -> list[str] | None:
        if "== answered" not in output:
            return None
        bad = []
        for line in output:
            name, _, rest = line.partition(" ")
            phase, *containers = rest.split(" ")
            if "/" not in name or phase == "Succeeded":
                continue
            waiting = [c.removeprefix("false") for c in containers if c.startswith("false")]
            if phase != "Running" or waiting:
                reason = next((w for w in waiting if w), "not ready")
                bad.append(f"{name} is {phase if phase != 'Running' else reason}")
        return bad
