"""A binary of the catalogue: on the lab's file server under upstream's path, with its checksum beside it."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from . import store, upstream
from .paths import WWW
from .programs import Program


@dataclass(frozen=True)
class Binary:
    """One file: upstream's address of it, and the program that it is (or that is packed in it)."""

    url: str
    program: Program
    packed_as: str = ""
    """Where the program is in a .tgz; empty: the file is the program itself."""

    @property
    def title(self) -> str:
        """What progress calls it."""
        return self.url.rpartition("/")[2]

    @property
    def _served(self) -> Path:
        return WWW / urlsplit(self.url).path.lstrip("/")

    @property
    def _key(self) -> str:
        return store.key(self.url, self.program.key, self.packed_as)

    def ready(self) -> bool:
        """Whether the file server has it, made by this recipe or fetched from upstream."""
        source = self._served.parent / f".{self._served.name}.recipe"
        return self._served.exists() and source.exists() and source.read_text() in (self._key, "upstream")

    def prepare(self) -> None:
        """Fetch or build it, and serve it."""
        if self.ready():
            return
        fetched = upstream.fetch(self.url)
        path = fetched or self._made()
        self._served.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._served.with_name(f".{self._served.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._served.with_name(f"{self._served.name}.sha256").write_text(digest)
        os.replace(temporary, self._served)
        (self._served.parent / f".{self._served.name}.recipe").write_text("upstream" if fetched else self._key)

    def publish(self) -> bool:
        """Nothing is left to do once it is prepared."""
        return False

    def _made(self) -> Path:
        if not self.packed_as:
            return self.program.path()

        def make(directory: Path) -> None:
            program = self.program.path()
            info = tarfile.TarInfo(self.packed_as)
            info.size, info.mode = program.stat().st_size, 0o755
            with tarfile.open(directory / self.title, "w:gz") as tar, program.open("rb") as source:
                tar.addfile(info, source)

        return store.keep("archives", self.title, self._key, make) / self.title
