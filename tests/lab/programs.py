"""Programs that go into images and onto the file server, built where upstream's cannot be had."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from . import store
from .paths import HERE
from .shell import progress, run

_FORMAT = 1
"""Raise it when this file makes something else out of the same table."""


class Program(Protocol):
    """A program that can be made: named by its recipe before it is there."""

    @property
    def key(self) -> str:
        """The hash of what it is made from."""

    def path(self) -> Path:
        """The finished program; the first call may take minutes."""


@dataclass(frozen=True)
class GoBuild:
    """Programs of one Go module, built together.

    `go install` refuses a module whose go.mod replaces others, and Kubernetes' replaces its own parts by
    folders that the module lacks. So each build gets a module of its own, with upstream's requirements and
    replacements copied into it: the versions are those that upstream built with.
    """

    name: str
    module: str
    version: str
    packages: Mapping[str, str]
    """Program → package; `main` is sources/NAME.go."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Other modules that the packages come from → version."""
    replace: Mapping[str, str] = field(default_factory=dict)
    staging: str = ""
    """The version under which upstream's own folders (`v0.0.0`) are published as modules."""
    variables: Mapping[str, str] = field(default_factory=dict)
    cgo: bool = False

    def program(self, name: str) -> GoProgram:
        """One of the programs."""
        return GoProgram(self, name)

    @property
    def key(self) -> str:
        """The hash of the whole recipe."""
        main = HERE / "sources" / f"{self.name}.go"
        text = main.read_text() if main.exists() else ""
        return store.key(_FORMAT, self.__dict__, text, _go_version())

    def directory(self) -> Path:
        """Where the programs are."""
        return store.keep("go", f"{self.name}-{self.version}", self.key, self._build)

    def _build(self, directory: Path) -> None:
        work = directory / "work"
        work.mkdir()
        (work / "go.mod").write_text(self._go_mod())
        if "main" in self.packages.values():
            shutil.copy(HERE / "sources" / f"{self.name}.go", work / "main.go")
        flags = "-s -w " + " ".join(f"-X {name}={value}" for name, value in self.variables.items())
        if self.cgo:
            flags += ' -extldflags "-static"'
        env = {
            **os.environ,
            "CGO_ENABLED": "1" if self.cgo else "0",
            "GOFLAGS": "-buildvcs=false",
            "GOWORK": "off",
        }
        for name, package in self.packages.items():
            what = "." if package == "main" else package
            with progress(f"go build {name} {self.version}"):
                command = (
                    "go",
                    "build",
                    "-mod=mod",
                    "-trimpath",
                    "-ldflags",
                    flags,
                    "-o",
                    directory / name,
                    what,
                )
                run(*command, cwd=work, env=env)
        shutil.rmtree(work)

    def _go_mod(self) -> str:
        said = run("go", "mod", "download", "-json", f"{self.module}@{self.version}", cwd=Path("/")).stdout
        upstream = json.loads(run("go", "mod", "edit", "-json", json.loads(said)["GoMod"]).stdout)
        require = {self.module: self.version, **self.also}
        for row in upstream.get("Require") or []:
            staged = row["Version"] == "v0.0.0" and self.staging
            require.setdefault(row["Path"], self.staging if staged else row["Version"])
        replace: dict[str, str] = {}
        for row in upstream.get("Replace") or []:
            old, new = row["Old"]["Path"], row["New"]
            if new.get("Version"):
                replace[old] = f"{new['Path']} {new['Version']}"
            elif self.staging:
                replace[old] = f"{old} {self.staging}"
        replace |= {old: f"{old} {version}" for old, version in self.replace.items()}
        lines = [f"module docker-multinode.example/{self.name}", f"go {upstream['Go']}"]
        lines += [f"require {path} {version}" for path, version in require.items()]
        lines += [f"replace {old} => {new}" for old, new in replace.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class GoProgram:
    """One program of a build."""

    build: GoBuild
    name: str

    @property
    def key(self) -> str:
        """The build's key and the name."""
        return f"{self.build.key}/{self.name}"

    def path(self) -> Path:
        """The finished program."""
        return self.build.directory() / self.name


@dataclass(frozen=True)
class CProgram:
    """A small static program of one C file in sources/."""

    name: str

    @property
    def key(self) -> str:
        """The hash of the source."""
        return store.key(_FORMAT, self.name, (HERE / "sources" / f"{self.name}.c").read_text())

    def path(self) -> Path:
        """The finished program."""

        def make(directory: Path) -> None:
            source = HERE / "sources" / f"{self.name}.c"
            run("gcc", "-Os", "-static", "-s", "-Wall", "-Werror", "-o", directory / self.name, source)

        return store.keep("c", self.name, self.key, make) / self.name


@functools.cache
def _go_version() -> str:
    """Part of the recipe; a machine that has everything from upstream needs no Go."""
    return run("go", "env", "GOVERSION").stdout.strip() if shutil.which("go") else "none"
