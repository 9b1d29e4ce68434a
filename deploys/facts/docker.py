"""What is known of a host's two Docker daemons, and the labels by which things there are ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

LABEL = "io.docker-multinode.spec"
"""Label of every container of ours: its specification as JSON."""
IMAGE_LABEL = "io.docker-multinode.node-image"
"""Label of every image that a build of the node image makes."""
COMMENT = "docker-multinode"
"""Of a rule of ours in a chain of somebody else's."""
POD = "io.kubernetes.docker.type"
"""Label that cri-dockerd gives to each container of a pod."""
PROGRAM = "io.kubernetes.container.name"
"""Label of a pod's container: the name that the manifest gives it."""
NAMESPACE = "io.kubernetes.pod.namespace"
"""Label of a pod's container."""
SYSTEM = "kube-system"
"""The namespace of the static pods and of the addons."""


def of_system(program: str) -> str:
    """Options of `docker ps` that choose the containers of a program of kube-system, and no other one's of that name.

    :param program: its name, or a variable of the shell.
    """
    return f"--filter label={PROGRAM}={program} --filter label={NAMESPACE}={SYSTEM}"


def short(image: str) -> str:
    """How ``docker images`` names an image: docker.io/library/debian:12 is debian:12 there, and beside a digest a tag
    is not kept."""
    name, at, digest = image.removeprefix("docker.io/").removeprefix("library/").partition("@")
    if at:
        path, slash, last = name.rpartition("/")
        name = f"{path}{slash}{last.partition(':')[0]}"
    return f"{name}{at}{digest}"


def name_taken(container: str, daemon: str) -> str:
    """What to say where somebody else's container has a name that one of ours needs."""
    return (
        f"a container {container} that is not of docker-multinode is on the {daemon} daemon; rename it "
        f"(docker rename {container} NAME), or remove it"
    )


@dataclass(frozen=True)
class ContainerState:
    """A container of ours as it is."""

    name: str
    running: bool
    spec: Any
    """What the label says; None where it is not JSON."""
    started: int = 0
    """When it was started last, in seconds since 1970; 0 where that is not known."""


@dataclass(frozen=True)
class Other:
    """A container of somebody else's that runs."""

    name: str
    restart: str
    """Its restart policy, like unless-stopped."""
    remove: bool
    """Whether Docker removes it when it ends."""
    proxied: bool = False
    """Whether it has published ports over IPv6 and no such address: Docker's proxy carries them."""
    name_server: bool = False
    """Whether it answers DNS at the host's addresses, on a network of its own."""


@dataclass(frozen=True)
class DaemonState:
    """A Docker daemon as it is."""

    active: bool
    enabled: bool
    needs_reload: bool
    """systemd has not read the unit's newest text."""
    command: tuple[str, ...]
    """Its command line; URLs' passwords are hidden."""
    environment: dict[str, str]
    """Its environment, as far as it is ours."""
    containers: dict[str, ContainerState] = field(default_factory=dict)
    others: frozenset[str] = frozenset()
    """Names of the containers that are not ours, running or not."""
    running_others: tuple[Other, ...] = ()
    """Those of them that run, but for the pods'."""
    forgotten: tuple[str, ...] = ()
    """Containers of ours that lie on its disk, but that it does not know."""
    images: dict[str, str] = field(default_factory=dict)
    """Reference with tag, and with digest → image id."""
    unfinished: tuple[str, ...] = ()
    """Ids of images without a name that a build of ours left."""
    down: bool = False
    """Its unit is there, but it does not run: what it has is not known."""

    def missing(self, images: Iterable[str]) -> list[str]:
        """Those of the images that it has not got."""
        there = self.images
        return [image for image in dict.fromkeys(images) if short(image) not in there and image not in there]


@dataclass(frozen=True)
class Daemons:
    """Both daemons, and the main one's bridge."""

    bootstrap: DaemonState
    main: DaemonState
    docker0: str
    """Address of docker0 with its prefix length, or an empty string."""
    docker0_before: str = ""
    """The one that it had before us, by the record; empty where the record does not say."""
    rules: tuple[str, ...] = ()
    """Rules of ours in the chain DOCKER-USER."""
    bootstrap_started: int = 0
    """When the bootstrap daemon was started last, in seconds since 1970; 0 where that is not known."""
    programs: Mapping[str, int] = field(default_factory=dict)
    """Container of a pod in kube-system that runs → when it was started."""
    flushed: bool = False
    """Whether somebody took the main Docker's rules of iptables away, as `nft flush ruleset` does."""

    def of(self, daemon: str) -> DaemonState:
        """``bootstrap`` or ``main``."""
        return self.bootstrap if daemon == "bootstrap" else self.main
