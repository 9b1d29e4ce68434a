"""Facts as they would be: small builders with good defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deploys.facts.daemons import DaemonsFact
from deploys.facts.docker import ContainerState, Daemons
from deploys.facts.files import Files, FileState
from deploys.facts.leftovers import Left, Leftovers
from deploys.operations.containers import Spec
from deploys.operations.files import File

from .samples import lines


def host_files(*files: File, foreign: Iterable[str] = (), **others: Any) -> Files:
    """The files of a host: these of ours, and foreign ones."""
    states = {f.path: FileState(f.mode, "0:0", len(f.content), True, None if f.secret else f.content) for f in files}
    states |= {path: FileState("644", "0:0", 1, False, None) for path in foreign}
    return Files(states, others.get("subnet_env", {}), others.get("kubelet_client", ""))


def altered(files: Files, path: str, **changes: Any) -> Files:
    """The same, but for one file."""
    return replace(files, files={**files.files, path: replace(files.files[path], **changes)})


def running(name: str, spec: Spec | None, *, runs: bool = True) -> ContainerState:
    """A container of ours with that specification in its label."""
    return ContainerState(name, runs, spec.lines() if spec else None)


def daemons(
    sample: str = "daemons-master",
    *,
    main: Mapping[str, Any] | None = None,
    bootstrap: Mapping[str, Any] | None = None,
    docker0: str | None = None,
) -> Daemons:
    """Both daemons as a real host has them, with single things changed; containers by name."""
    found = DaemonsFact().process(lines(sample))
    return Daemons(
        replace(found.bootstrap, **(bootstrap or {})),
        replace(found.main, **(main or {})),
        found.docker0 if docker0 is None else docker0,
    )


def left(**changes: Any) -> Left:
    """What a master has of us, with single things changed."""
    return replace(Leftovers().process(lines("leftovers-master")), **changes)
