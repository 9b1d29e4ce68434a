"""What the lab needs of the machine it runs on: some Debian packages, and daemons that are not installed."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from . import store
from .paths import HERE, RUN
from .shell import LabError, progress, run

COMMANDS = {
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "gcc": "gcc",
    "curl": "curl",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
    "perl": "perl-base",
}
"""A command the lab calls on the machine, and the package that has it."""

DAEMONS = ("docker.io", "containerd", "runc", "docker-registry", "apt-cacher-ng")
"""Installing these would start services: they are unpacked into the cache and run from there."""


def install_missing() -> None:
    """Install what the lab calls and the machine lacks; nothing where nothing is missing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for command, package in COMMANDS.items() if not shutil.which(command, path=path)})
    if not Path("/usr/include/stdio.h").exists():
        missing.append("libc6-dev")  # gcc only recommends it
    if not missing:
        return
    if os.geteuid():
        raise LabError(f"the lab needs root, and the packages {' '.join(missing)}")
    with progress(f"apt-get install {' '.join(missing)}"):
        run("apt-get", "update")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "install", "-y", "--no-install-recommends", *missing, env=env)


@functools.cache
def tools() -> Path:
    """A directory with the daemons and those of their libraries that the machine lacks, unpacked."""
    release = Path("/etc/os-release").read_text()
    return store.keep("tools", "debian", store.key(DAEMONS, release), _unpack) / "root"


def _unpack(directory: Path) -> None:
    with progress(f"unpack {', '.join(DAEMONS)}"):
        run("apt-get", "update")
        plan = run("apt-get", "install", "--simulate", "--no-install-recommends", *DAEMONS).stdout
        missing = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        packages = sorted({*missing, *DAEMONS})
        debs = directory / "debs"
        debs.mkdir()
        run("apt-get", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=debs)
        for deb in sorted(debs.glob("*.deb")):
            run("dpkg-deb", "-x", deb, directory / "root")
        shutil.rmtree(debs)


def tool(name: str) -> Path:
    """The path of one of the unpacked programs."""
    for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
        if (path := tools() / folder / name).exists():
            return path
    raise LabError(f"{name} is not in {tools()}")


def tool_environment() -> dict[str, str]:
    """The environment in which the unpacked programs find each other and their libraries."""
    root = tools()
    folders = [str(root / folder) for folder in ("usr/sbin", "usr/bin", "sbin", "bin")]
    libraries = sorted({str(lib.parent) for lib in root.rglob("lib*.so*")})
    return {
        "PATH": ":".join([*folders, "/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
        "LD_LIBRARY_PATH": ":".join(libraries),
        "HOME": "/root",
    }


def runtime() -> Path:
    """runc-lab for the outer dockerd, told where runc is. A copy, since a checkout may go away."""
    folder = RUN
    shutil.copyfile(HERE / "runc-lab", folder / "runc-lab.pl")
    path = folder / "runc-lab"
    path.write_text(f'#!/bin/sh\nRUNC_LAB_REAL={tool("runc")} exec /usr/bin/perl {folder}/runc-lab.pl "$@"\n')
    path.chmod(0o755)
    return path


@functools.cache
def mirror() -> str:
    """The Debian mirror that the machine's own apt uses, else Debian's usual name."""
    form = "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)"
    targets = run("apt-get", "indextargets", "--format", form, "Created-By: Packages", check=False).stdout
    for line in targets.splitlines():
        origin, component, codename, uri = (line.split(" ") + [""] * 4)[:4]
        if origin == "Debian" and component == "main" and "-" not in codename and uri.startswith("http"):
            return uri.rstrip("/")
    return "http://deb.debian.org/debian"
