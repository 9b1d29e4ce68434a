"""An image of the catalogue: from upstream where that can be reached, else made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import images, layers, store, upstream
from .archive import File
from .images import Image, Run
from .layers import Layer
from .paths import CACHE
from .programs import Program

NETWORK = """
apt-get update -q
apt-get install -yq iptables conntrack kmod iproute2
"""
"""What kube-proxy and flannel call."""

BUSYBOX = """
apt-get update -q
apt-get install -yq busybox
mkdir -p /usr/local/bin
for applet in $(busybox --list); do ln -sf /bin/busybox /usr/local/bin/$applet; done
"""
"""The dynamic one: a static glibc's resolver crashes where its C library is not of the same release."""

SCRIPTS = {"network": NETWORK, "busybox": BUSYBOX}


def _bases(name: str) -> list[Layer]:
    if name == "scratch":
        return []
    debian = layers.debian()
    return [debian] if name == "debian" else [debian, layers.script(name, [debian], SCRIPTS[name])]


@dataclass(frozen=True)
class ImageRow:
    """One image: upstream's name of it, and how the lab makes one that does the same."""

    ref: str
    base: str = "scratch"
    programs: Mapping[str, Program] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    run: Run = field(default_factory=Run)

    @property
    def title(self) -> str:
        """What progress calls it."""
        return self.ref

    @property
    def repository(self) -> str:
        """The path in a registry, the same in the lab's as in upstream's."""
        return self.ref.partition("/")[2].rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The tag."""
        return self.ref.rpartition(":")[2]

    def ready(self) -> bool:
        """Whether it can be published without pulling or building."""
        return upstream.pulled(self.ref) is not None or self._mark.exists()

    def prepare(self) -> None:
        """Pull or build it.

        Where this was written no registry could be reached: pulling was only tried against the lab's own.
        """
        if not self.ready() and not upstream.pull(self.ref):
            self._build()
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.touch()

    def publish(self) -> bool:
        """Put it into the lab's registry; False where it was there."""
        image = upstream.pulled(self.ref) or self._build()
        return images.publish(self.repository, self.tag, image)

    @property
    def _mark(self) -> Path:
        name = self.ref.replace("/", "_").replace(":", "_")
        programs = {path: program.key for path, program in self.programs.items()}
        return (
            CACHE
            / "made"
            / f"{name}-{store.key(self.base, SCRIPTS.get(self.base, ''), programs, self.links, self.run)}"
        )

    def _build(self) -> Image:
        below = _bases(self.base)
        content = {
            path: File(program.path(), mode=0o755, identity=program.key) for path, program in self.programs.items()
        }
        content |= {path: File(link=target) for path, target in self.links.items()}
        name = next(iter(self.programs), "/none").rpartition("/")[2]
        return images.assemble(below + ([layers.files(name, content)] if content else []), self.run)
