"""Layers of images, made without any Docker: by debootstrap, by a script, from single files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import machine, store
from .archive import File, pack_files, pack_tree
from .paths import CACHE
from .shell import LabError, progress

SOURCES = """\
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
"""What an official debian:trixie-slim has in /etc/apt/sources.list.d/debian.sources."""


@dataclass(frozen=True)
class Layer:
    """One layer: its archive as a registry keeps it, and the tree where others are built on top of it."""

    directory: Path
    digest: str
    diff_id: str
    size: int

    @property
    def blob(self) -> Path:
        """The gzipped tar archive."""
        return self.directory / "layer.tar.gz"

    @property
    def root(self) -> Path:
        """The tree, for layers that others stand on."""
        return self.directory / "root"


def _load(directory: Path) -> Layer:
    meta = json.loads((directory / "layer.json").read_text())
    return Layer(directory, meta["digest"], meta["diff_id"], meta["size"])


def debian(suite: str = "trixie") -> Layer:
    """A minimal Debian, with the sources an official image has."""

    def make(directory: Path) -> None:
        root = directory / "root"
        words = ["debootstrap", "--variant=minbase", f"--cache-dir={_debs()}", "--include=ca-certificates"]
        with progress(f"debootstrap {suite}"):
            _isolated("exec " + " ".join([*words, suite, str(root), machine.mirror()]), {})
            (root / "etc/apt/sources.list").unlink()
            (root / "etc/apt/sources.list.d/debian.sources").write_text(SOURCES)
            for left in [*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*_*")]:
                left.unlink()
            pack_tree(directory, root)

    return _load(store.keep("layers", suite, store.key("debootstrap", suite, SOURCES), make))


def script(name: str, below: list[Layer], text: str, suites: tuple[str, ...] = ("trixie", "trixie-updates")) -> Layer:
    """What a shell script, run in the layers below, adds to them. apt works there."""

    def make(directory: Path) -> None:
        for folder in ("root", "work", "merged"):
            (directory / folder).mkdir()
        sources = directory / "sources.list"
        sources.write_text("".join(f"deb [check-valid-until=no] {machine.mirror()} {suite} main\n" for suite in suites))
        environment = {
            "LOWER": ":".join(str(layer.root) for layer in reversed(below)),
            "UPPER": str(directory / "root"),
            "WORK": str(directory / "work"),
            "ROOT": str(directory / "merged"),
            "SOURCES": str(sources),
            "ARCHIVES": str(_debs()),
            "INNER": f"set -e\nexport DEBIAN_FRONTEND=noninteractive\n{text}",
        }
        with progress(f"layer {name}"):
            _isolated(_CHROOT, environment)
            pack_tree(directory, directory / "root")

    recipe = store.key("script", [layer.diff_id for layer in below], text, suites, _CHROOT)
    return _load(store.keep("layers", name, recipe, make))


def files(name: str, content: Mapping[str, File]) -> Layer:
    """A layer of single files: path in the image → file."""
    recipe = store.key("files", [[path, file.recipe()] for path, file in sorted(content.items())])
    return _load(store.keep("layers", name, recipe, lambda directory: pack_files(directory, content)))


_CHROOT = """
set -e
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/run"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount -t tmpfs tmpfs "$ROOT/var/lib/apt/lists"
mkdir -p "$ROOT/run/sources"
mount --bind "$ARCHIVES" "$ROOT/var/cache/apt/archives"
touch "$ROOT/etc/resolv.conf"
mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' > "$ROOT/usr/sbin/policy-rc.d"; chmod 755 "$ROOT/usr/sbin/policy-rc.d"
cp "$SOURCES" "$ROOT/run/sources/lab.list"
mkdir -p "$ROOT/tmp/empty"
cat > "$ROOT/tmp/apt.conf" <<EOF
Dir::Etc::SourceList "/run/sources/lab.list";
Dir::Etc::SourceParts "/tmp/empty";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
EOF
status=0
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin APT_CONFIG=/tmp/apt.conf chroot "$ROOT" sh -c "$INNER" || status=$?
rm "$ROOT/usr/sbin/policy-rc.d"
find "$ROOT/var/log" "$ROOT/var/cache/debconf" -xdev -type f -delete
exit $status
"""
"""Run in a mount namespace of its own, so that a killed build leaves no mount behind."""


def _isolated(text: str, environment: Mapping[str, str]) -> None:
    """Run a shell script in mount and pid namespaces of its own; it dies with us, should we be killed."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *namespaces, "sh", "-c", text],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise LabError("a layer could not be built:\n" + "\n".join(done.stdout.splitlines()[-30:]))


def _debs() -> Path:
    """Debian packages that were downloaded once."""
    path = CACHE / "debs"
    (path / "partial").mkdir(parents=True, exist_ok=True)
    return path
