"""The same cluster by shell scripts: what they write and run is what the product's plan shows."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import shown
from tests.cluster.product import Run
from tests.lab.hosts import SSH_OPTIONS, Host

SCRIPTS = Path(__file__).resolve().parent / "scripts"
OWN_WORK = ("/var/lib/docker-multinode/subnet.env",)
"""Files of the plan that the scripts make by themselves."""


@dataclass(frozen=True)
class ByHand:
    """A folder that `scripts/all.sh` brings a cluster up from."""

    folder: Path

    def run(self, step: str) -> None:
        """``up`` or ``down``, on all hosts at once.

        :raises AssertionError: it failed; with the end of what it printed.
        """
        words = (str(SCRIPTS / "all.sh"), step, str(self.folder))
        done = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def prepare(folder: Path, plan: Run, hosts: Sequence[Host]) -> ByHand:
    """Write the folder from the product's plan for fresh hosts, the master first."""
    folder.mkdir(parents=True, exist_ok=True)
    roles = {host: "worker" if number else "master" for number, host in enumerate(hosts)}
    (folder / "hosts").write_text("".join(f"{h.name} {h.address} {role}\n" for h, role in roles.items()))
    (folder / "ssh").write_text(shlex.join(("ssh", *SSH_OPTIONS)) + "\n")
    for host in hosts:
        _of_host(folder / host.name, plan, host)
    (folder / hosts[0].name / "addons.yaml").write_text(_objects(plan))
    return ByHand(folder)


def _of_host(folder: Path, plan: Run, host: Host) -> None:
    texts = {p: lines for p, lines in shown.files(plan, host.name).items() if p not in OWN_WORK}
    for path, lines in texts.items():
        there = folder / "files" / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text("\n".join(lines) + "\n")
    images = {m[1] for lines in texts.values() for line in lines if (m := re.fullmatch(r" +image: (\S+)", line))}
    for name, lines in shown.containers(plan, host.name).items():
        image, words = words_of(lines)
        (folder / f"{name}.image").write_text(image + "\n")
        (folder / f"{name}.words").write_text("".join(f"{word}\n" for word in words))
        images |= {m[1] for word in words if (m := re.fullmatch(r"--pod-infra-container-image=(\S+)", word))}
    (folder / "images").write_text("".join(f"{image}\n" for image in sorted(images)))


def words_of(specification: Sequence[str]) -> tuple[str, list[str]]:
    """A container's image, and the words of ``docker run``, from its specification as the plan shows it."""
    parts: dict[str, list[str]] = {"image": [], "option": [], "argument": [], "revision": []}
    for line in specification:
        kind, _, word = line.partition(" ")
        parts[kind].append(word)
    image = parts["image"][0]
    return image, [*parts["option"], image, *parts["argument"]]


def _objects(plan: Run) -> str:
    found = [lines for _, title, lines in shown.blocks(plan) if title == "Will create these objects:"]
    assert found, "the plan creates no objects"
    return "\n".join(found[0]) + "\n"
