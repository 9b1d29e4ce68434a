"""The bootstrap daemon: a second Docker that runs etcd and flannel, out of the main one's way."""

from __future__ import annotations

import hashlib
import ipaddress
import json

from ..operations.daemons import BOOTSTRAP, NAMESPACES, bootstrap_daemon, no_bootstrap_daemon
from ..operations.files import File, files
from ..operations.leftovers import no_directories, no_links
from ..record import (
    BOOTSTRAP_CONFIG,
    BOOTSTRAP_DATA,
    BOOTSTRAP_RUN,
    BOOTSTRAP_SOCKET,
    FLANNEL_RUN,
    SUBNET_ENV,
)
from ..render import render
from ..topology import Node

TITLE = "bootstrap daemon"

BRIDGE = "docker-boot0"
BRIDGE_ADDRESS = "169.254.77.1/29"

#: What a user's daemon.json says of registries and runtimes holds for the bootstrap daemon too.
INHERITED = ("registry-mirrors", "insecure-registries", "default-runtime", "runtimes", "storage-driver",
             "proxies", "dns", "exec-opts", "seccomp-profile", "default-ulimits", "features")  # fmt: skip


def proxies(node: Node) -> dict[str, str]:
    """Proxy variables for a daemon: the cluster itself is never asked through a proxy."""
    wanted = node.settings
    found = {"HTTP_PROXY": wanted.http_proxy, "HTTPS_PROXY": wanted.https_proxy}
    result = {name: value for name, value in found.items() if value}
    if result:
        result["NO_PROXY"] = no_proxy(node)
    return result


def no_proxy(node: Node) -> str:
    """Hosts and networks that are reached without the proxy; not the DNS domain, for a change of it would
    restart both daemons, and neither asks names of it."""
    lan = ipaddress.IPv4Interface(f"{node.address}/{node.interface.prefix}").network
    own = ("127.0.0.1", "localhost", str(lan), node.settings.flannel_network, node.settings.service_network, ".svc")
    return ",".join((*own, *(node.settings.no_proxy or "").split(","))).rstrip(",")


def _config(node: Node) -> str:
    theirs = node.found.daemon_json or {}
    config = {key: theirs[key] for key in INHERITED if key in theirs}
    config |= {
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
    }
    return json.dumps(config, indent=1, sort_keys=True) + "\n"


def _unit(node: Node, revision: str) -> str:
    return render(
        f"{node.restart.init}/{BOOTSTRAP}.service.j2",
        revision=revision,
        environment=proxies(node),
        dockerd=node.found.dockerd or "/usr/bin/dockerd",
        config=BOOTSTRAP_CONFIG,
        socket=BOOTSTRAP_SOCKET,
        run=BOOTSTRAP_RUN,
        data=BOOTSTRAP_DATA,
        flannel_run=FLANNEL_RUN,
        subnet_env=SUBNET_ENV,
        bridge=BRIDGE,
        namespaces=NAMESPACES,
        bridge_address=BRIDGE_ADDRESS,
    )


def unit_path(node: Node) -> str:
    """Where the daemon's unit lies."""
    return f"{node.restart.unit_dir}/{BOOTSTRAP}.service"


def apply(node: Node) -> None:
    """Write its unit and configuration, start it."""
    config = _config(node)
    revision = hashlib.sha256((config + _unit(node, "")).encode()).hexdigest()[:12]
    unit = File(unit_path(node), _unit(node, revision))
    wanted = [File(BOOTSTRAP_CONFIG, config), unit]
    files(name="Write the bootstrap daemon's unit", wanted=wanted)
    bootstrap_daemon(name="Run the bootstrap daemon", restart=node.restart, revision=revision, reads=wanted)


def remove(node: Node) -> None:
    """Stop it; its images go with it, etcd's data does not lie there."""
    no_bootstrap_daemon(name="Stop the bootstrap daemon", restart=node.restart)
    files(
        name="Remove the bootstrap daemon's unit",
        wanted=(),
        absent=(unit_path(node), BOOTSTRAP_CONFIG),
    )
    no_links(name="Remove the bootstrap daemon's bridge", links=(BRIDGE,))
    no_directories(
        name="Remove the bootstrap daemon's images",
        paths=(BOOTSTRAP_DATA, BOOTSTRAP_RUN, BOOTSTRAP_SOCKET, f"{BOOTSTRAP_RUN}.pid"),
    )
