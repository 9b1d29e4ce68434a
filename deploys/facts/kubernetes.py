"""What the API on the first master says: nodes, and objects of ours against their desired text."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyinfra.api import FactProcessError, StringCommand
from typing_extensions import override

from ..managed_fields import Taken, conflicts
from ..record import KUBELET_CONTAINER, KUBERNETES
from . import inside
from .found import Found
from .sections import END, Bundle, Sectioned, Sections, number, shown, unlike, word

_COMMAND = f"kubectl --kubeconfig {KUBERNETES}/super-admin.conf --request-timeout=20s"
EXEC = f"docker exec -i {KUBELET_CONTAINER} {_COMMAND}"
KUBECTL = f"timeout 60 {EXEC}"
"""As operations run it."""
_INSIDE = inside.within(KUBELET_CONTAINER, "main", _COMMAND, 60)
"""As facts run it: ``inside get nodes``."""
MANAGER = "docker-multinode"
ADDON = "docker-multinode.io/addon"
"""Label of every object of ours: the addon that it belongs to."""
KINDS = ("deployments,services,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,"
         "apiservices")  # fmt: skip

_NODES = (
    '{range .items[*]}{.metadata.name}{"\\n"}{.status.nodeInfo}{"\\n"}{.status.addresses}{"\\n"}'
    '{.status.conditions}{"\\n"}{.metadata.labels}{"\\n"}{end}'
)
"""Five lines a node: its name, and four of JSON, for a kubelet may write into its status what it likes."""
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
    machine_id: str = ""
    """Of the machine that the kubelet ran on when it last told."""
    address: str = ""
    version: str = ""
    """Of its kubelet, like v1.37.2."""
    pressures: tuple[str, ...] = ()
    """Conditions like DiskPressure, under which the kubelet evicts pods."""
    labels: frozenset[str] = frozenset()
    """key=value"""
    boot_id: str = ""
    """Of that machine's boot in which the kubelet ran when it last told."""

    def is_on(self, found: Found) -> bool:
        """Whether this machine is that node. A copy of its disk has its machine id too, and the node goes on where it
        was: in another boot, at an address that is not here."""
        addresses = {interface.address for interface in found.interfaces}
        elsewhere = self.ready and self.boot_id != found.boot_id and self.address not in addresses
        return self.machine_id == found.machine_id and not elsewhere


def _asked(heading: str, what: str, rows: str) -> str:
    return f"""
{_INSIDE}
echo "== {heading}"; inside get {what} -o jsonpath='{rows}' 2>/dev/null && echo "== answered"
{END}
"""


class ClusterNodes(Bundle["dict[str, NodeState] | None"]):
    """The nodes that have joined; None where the API does not answer."""

    script = _asked("nodes", "nodes", _NODES)

    @override
    def read(self, sections: Sections) -> dict[str, NodeState] | None:
        if "answered" not in sections:
            return None
        lines = sections["nodes"]
        rows = [lines[i : i + 5] for i in range(0, len(lines), 5)]
        return {row[0]: _node(*row) for row in rows}


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def _node(name: str, *status: str) -> NodeState:
    try:
        info, addresses, conditions, labels = (json.loads(text or "null") for text in status)
        true = [c["type"] for c in conditions or () if c["status"] == "True"]
        internal = next((a["address"] for a in addresses or () if a["type"] == "InternalIP"), "")
        machine, version, boot = ((info or {}).get(key, "") for key in ("machineID", "kubeletVersion", "bootID"))
        pressures = tuple(word(c) for c in true if str(c).endswith("Pressure"))
        pairs = frozenset(f"{k}={v}" for k, v in (labels or {}).items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise FactProcessError(f"kubectl gave {shown(' '.join(status))} of node {shown(name)}") from None
    if not _NAME.fullmatch(name):
        raise FactProcessError(f"kubectl gave {shown(name)} among the nodes")
    return NodeState("Ready" in true, word(machine), word(internal), word(version), pressures, pairs, word(boot))


_REFUSED = re.compile(
    r'The \S+ ".*" is invalid:|Error from server \((?!InternalError|ServiceUnavailable|Timeout|TooManyRequests)'
)
"""How kubectl tells an API's no from one that is not able to answer."""


@dataclass(frozen=True)
class ObjectsState:
    """Objects of ours against their desired text."""

    answers: bool
    diff: tuple[str, ...]
    """What ``kubectl diff`` prints; empty where there is no difference."""
    error: str
    labelled: tuple[tuple[str, str, str, str], ...]
    """addon, kind, namespace, name of every object that carries our label."""
    taken: bool = False
    """Whether it would not be applied, because others have set fields of it since."""
    refused: bool = False
    """Whether the API answers, and would not take it."""


_MOVED = "^[+-] *resourceVersion:"
"""kubectl compares what the API has with what it would have after an apply, and asks for one after the other. An apply
on trial leaves an object's version as it is, so one with two versions got another status in between (measured:
metrics-server's APIService), whose lines would be taken for a change."""


class Objects(Sectioned[ObjectsState]):
    """Objects of ours against their desired text: ``kubectl diff`` by the server."""

    headings = ("diff", "labelled")

    @override
    def command(self, manifest: str) -> StringCommand:
        text = base64.b64encode(manifest.encode()).decode()
        return StringCommand(
            f"{_INSIDE}\necho '== labelled'; inside get {KINDS} -A -l {ADDON} -o jsonpath='{_LABELLED}' 2>/dev/null & "
            f"for i in 1 2 3; do d=$(echo {text} | base64 -d | "
            f"inside diff --server-side --field-manager={MANAGER} -f - 2>&1); rc=$?; "
            f"printf '%s\\n' \"$d\" | grep -q '{_MOVED}' || break; done; "
            f'wait; echo "== rc $rc"; echo "== diff"; printf "%s\\n" "$d"; {END}'
        )

    @override
    def read(self, sections: Sections) -> ObjectsState:
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
        refused = any(_REFUSED.match(line) for line in diff)
        return ObjectsState(False, (), " ".join(diff[-2:]), (), taken=bool(conflicts(diff)), refused=refused)


class TakenFields(Sectioned["dict[int, tuple[Taken, ...]]"]):
    """Fields that others have set, of the object with that place among the documents; each is asked by itself.

    ``kubectl diff`` stops at the first object with such a field, and does not say which it is.
    """

    @override
    def command(self, documents: Sequence[str]) -> StringCommand:
        ask = f"inside apply --server-side --dry-run=server --field-manager={MANAGER} -f - 2>&1 >/dev/null"
        texts = (base64.b64encode(document.encode()).decode() for document in documents)
        calls = (f"ask {place} {text}" for place, text in enumerate(texts))
        return StringCommand(
            f'{_INSIDE}\nask() {{ echo "== $1"; echo "$2" | base64 -d | {ask}; }}; {"; ".join(calls)}; {END}'
        )

    @override
    def read(self, sections: Sections) -> dict[int, tuple[Taken, ...]]:
        found = {number(name): conflicts(lines) for name, lines in sections.items()}
        return {place: taken for place, taken in found.items() if place is not None and taken}


_POD = re.compile(r"([a-z0-9-]+/[a-z0-9.-]+) (\w*)((?: \w+)*)")


class Pods(Bundle["list[str] | None"]):
    """Pods that do not run as they should, with the reason; None where the API does not answer."""

    script = _asked("pods", "pods -A", _PODS)

    @override
    def read(self, sections: Sections) -> list[str] | None:
        if "answered" not in sections:
            return None
        lines = [line for line in sections["pods"] if line]
        if (odd := unlike(lines, _POD)) is not None:
            raise FactProcessError(f"kubectl gave {shown(odd)} among the pods")
        bad = []
        for name, phase, waits in (row.groups() for line in lines if (row := _POD.fullmatch(line))):
            containers = waits.split()
            if phase in ("Succeeded", "Failed"):
                continue  # over; what takes the place of a failed one is a pod of its own
            waiting = [c.removeprefix("false") for c in containers if c.startswith("false")]
            if phase != "Running" or waiting:
                reason = next((w for w in waiting if w), "not ready")
                bad.append(f"{name} is {phase if phase != 'Running' else reason}")
        return bad
