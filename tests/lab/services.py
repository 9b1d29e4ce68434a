"""The daemons around the hosts, each with a configuration of its own and bound to the lab's addresses."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from pathlib import Path

from . import leftovers, limits, machine, network, processes
from .paths import (
    APT_PORT,
    BRIDGE,
    BRIDGE_ADDRESS,
    CACHE,
    CGROUP,
    DOCKER_SOCKET,
    HTTP_PORT,
    MACHINE_ADDRESS,
    REGISTRY,
    REGISTRY_PORT,
    RUN,
    SUBNET,
    WWW,
)
from .shell import LabError, Result, run

PORTS = {"registry": REGISTRY_PORT, "apt-proxy": APT_PORT, "files": HTTP_PORT}
NAMES = ("dockerd", *PORTS)


def up() -> None:
    """Start what does not run; where the outer Docker does not, first clear up what a killed lab left."""
    begin = not processes.alive("dockerd")
    if begin:
        _clear()
    limits.raise_them()
    network.up()
    _registry()
    _apt_proxy()
    _files()
    if begin:
        _dockerd()
        _remove_containers()
    if docker("network", "inspect", "dm-lab", check=False).returncode:
        option = f"com.docker.network.bridge.name={BRIDGE}"
        docker("network", "create", "--subnet", SUBNET, "--gateway", BRIDGE_ADDRESS, "-o", option, "dm-lab")
    for name, port in PORTS.items():
        _wait_listening(name, port)


def down() -> None:
    """Stop what `up` started, by its record, and take away what it made in the kernel."""
    if processes.alive("dockerd"):
        _remove_containers()  # a dockerd that stops would wait for each of them
    _clear()


def _remove_containers() -> None:
    if containers := docker("ps", "-aq", check=False).stdout.split():
        docker("rm", "-f", "-v", *containers, check=False)


def _clear() -> None:
    for name in NAMES:
        processes.stop(name)
    leftovers.sweep()
    network.down()
    limits.restore()


def is_up() -> bool:
    """Whether every daemon of the lab runs."""
    return network.is_up() and all(processes.alive(name) for name in NAMES)


def docker(*words: str, check: bool = True, timeout: float | None = None) -> Result:
    """Call the outer Docker with its own version of the command line."""
    environment = {**machine.tool_environment(), "DOCKER_CONFIG": str(RUN)}
    argv = (str(machine.tool("docker")), "-H", f"unix://{DOCKER_SOCKET}", *words)
    return run(*argv, check=check, timeout=timeout, env=environment)


def _dockerd() -> None:
    """The outer Docker, in the lab's network: whatever it or a container sends, there is no way out."""
    config = {
        "default-runtime": "lab",
        "runtimes": {"lab": {"path": str(machine.runtime())}},
        "storage-driver": _storage_driver(),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{CGROUP}",
        "insecure-registries": [REGISTRY],
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
    }
    (RUN / "daemon.json").write_text(json.dumps(config, indent=1))
    for stale in (DOCKER_SOCKET, RUN / "docker.pid"):
        stale.unlink(missing_ok=True)
    words: list[str | Path] = ["nsenter", f"--net={network.NETNS_PATH}", machine.tool("dockerd")]
    words += ["--config-file", RUN / "daemon.json", "--data-root", CACHE / "docker"]
    words += ["--exec-root", RUN / "docker", "-p", RUN / "docker.pid", "-H", f"unix://{DOCKER_SOCKET}"]
    processes.start("dockerd", words, machine.tool_environment())
    processes.wait_for("dockerd", DOCKER_SOCKET, 60)
    docker("version", timeout=60)


def _storage_driver() -> str:
    """overlay2, unless the cache is itself on an overlay (a container's root), which cannot carry another."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kind = run("stat", "--file-system", "--format=%T", CACHE).stdout.strip()
    return "vfs" if kind == "overlayfs" else "overlay2"


def _registry() -> None:
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(CACHE / "registry")}},
        "http": {"addr": REGISTRY},
    }
    path = RUN / "registry.yml"
    path.write_text(json.dumps(config))  # JSON is YAML
    processes.start("registry", [machine.tool("docker-registry"), "serve", path], machine.tool_environment())


def _apt_proxy() -> None:
    """apt-cacher-ng: it fetches from Debian only, whatever a host asks it for."""
    folder = RUN / "apt-proxy"
    folder.mkdir(exist_ok=True)
    cache, logs = CACHE / "apt", processes.LOGS / "apt-cacher-ng"
    for directory in (cache, logs):
        directory.mkdir(parents=True, exist_ok=True)
    lines = [
        f"CacheDir: {cache}",
        f"LogDir: {logs}",
        f"SupportDir: {machine.tools()}/usr/lib/apt-cacher-ng",
        f"Port: {APT_PORT}",
        f"BindAddress: {MACHINE_ADDRESS}",
        f"PidFile: {folder}/pid",
        f"SocketPath: {folder}/socket",
        "ForeGround: 1",
        "ForceManaged: 1",
        f"Remap-debian: http://deb.debian.org/debian ; {machine.mirror()}",
        "Remap-security: http://deb.debian.org/debian-security ; http://deb.debian.org/debian-security",
    ]
    if proxy := _machine_proxy():
        lines.append(f"Proxy: {proxy}")
    (folder / "acng.conf").write_text("\n".join(lines) + "\n")
    processes.start("apt-proxy", [machine.tool("apt-cacher-ng"), "-c", folder], machine.tool_environment())


def _machine_proxy() -> str | None:
    """The proxy that the machine's own apt goes through, if any."""
    text = run("apt-config", "dump", "Acquire::http::Proxy", check=False).stdout
    match = re.search(r'^Acquire::http::Proxy "(http://[^"]+)"', text, re.MULTILINE)
    return match.group(1) if match else None


def _files() -> None:
    WWW.mkdir(parents=True, exist_ok=True)
    words = ["-m", "http.server", str(HTTP_PORT), "--bind", MACHINE_ADDRESS, "--directory", str(WWW)]
    processes.start("files", [sys.executable, *words])


def _wait_listening(name: str, port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((MACHINE_ADDRESS, port), timeout=1).close()
            listening = True
        except OSError:
            listening = False
        if not processes.alive(name) or time.monotonic() > deadline:
            said = processes.last_words(name)
            raise LabError(f"{name} does not listen on {MACHINE_ADDRESS}:{port}:\n{said}")
        if listening:
            return
        time.sleep(0.05)
