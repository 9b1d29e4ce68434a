"""Writing the archive of a layer as a registry keeps it: a gzipped tar, and its digests beside it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_EMPTY = {"proc", "sys", "dev", "run", "tmp"}
"""Directories of a root file system that only have content while it runs."""


@dataclass(frozen=True)
class File:
    """A file of an image: its content, or a file on this machine, or where a symbolic link leads."""

    content: str | Path | None = None
    link: str | None = None
    mode: int = 0o644
    identity: str = ""
    """What stands for the content in the layer's recipe (where reading it to hash it would take long)."""

    def recipe(self) -> list[object]:
        """What this file adds to the key of its layer."""
        if self.identity:
            return [self.identity, self.mode]
        if isinstance(self.content, Path):
            with self.content.open("rb") as source:
                return [hashlib.file_digest(source, "sha256").hexdigest(), self.mode]
        return [self.content, self.link, self.mode]


def pack_files(directory: Path, content: Mapping[str, File]) -> None:
    """Archive single files: path in the image → file."""
    with _archive(directory) as tar:
        for path in sorted(content):
            _add_file(tar, path.lstrip("/"), content[path])


def pack_tree(directory: Path, root: Path) -> None:
    """Archive a tree; what an overlay says by a 0/0 device or an attribute becomes a whiteout of an image."""
    with _archive(directory) as tar:
        for folder, folders, names in os.walk(root):
            here = Path(folder)
            if here.parent == root and here.name in _EMPTY:
                folders.clear()
                continue
            folders.sort()
            for path in sorted(here / name for name in [*names, *folders]):
                _add_from_tree(tar, path, path.relative_to(root))


def _add_from_tree(tar: tarfile.TarFile, path: Path, name: Path) -> None:
    info = path.lstat()
    if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
        tar.addfile(tarfile.TarInfo(str(name.parent / f".wh.{name.name}")))
    elif not stat.S_ISSOCK(info.st_mode):
        tar.add(path, arcname=str(name), recursive=False)
    if stat.S_ISDIR(info.st_mode) and "trusted.overlay.opaque" in os.listxattr(path, follow_symlinks=False):
        tar.addfile(tarfile.TarInfo(str(name / ".wh..wh..opq")))


def _add_file(tar: tarfile.TarFile, name: str, file: File) -> None:
    info = tarfile.TarInfo(name)
    info.mode = file.mode
    if file.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, file.link
        tar.addfile(info)
    elif isinstance(file.content, Path):
        info.size = file.content.stat().st_size
        with file.content.open("rb") as source:
            tar.addfile(info, source)
    else:
        data = (file.content or "").encode()
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


class _Digesting:
    """A file to write to that also hashes what is written."""

    def __init__(self, below: IO[bytes] | gzip.GzipFile) -> None:
        self.below, self.hash = below, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.below.write(data)
        return len(data)

    def flush(self) -> None:
        self.below.flush()


@contextlib.contextmanager
def _archive(directory: Path) -> Iterator[tarfile.TarFile]:
    """Write layer.tar.gz and, once it is complete, layer.json with its digests."""
    blob = directory / "layer.tar.gz"
    with blob.open("wb") as out:
        packed_hash: Any = _Digesting(out)  # file-like enough for gzip and tarfile
        with gzip.GzipFile(fileobj=packed_hash, mode="wb", compresslevel=1, mtime=0, filename="") as packed:
            plain_hash: Any = _Digesting(packed)
            with tarfile.open(fileobj=plain_hash, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                yield tar
    meta = {
        "digest": f"sha256:{packed_hash.hash.hexdigest()}",
        "diff_id": f"sha256:{plain_hash.hash.hexdigest()}",
        "size": blob.stat().st_size,
    }
    (directory / "layer.json").write_text(json.dumps(meta))
