"""The bootstrap daemon: a second Docker that runs etcd and flannel, out of the main one's way."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..facts.daemons import DaemonsFact
from ..facts.files import HostFiles
from ..facts.hiding import HIDDEN
from ..facts.sections import END, json_object, parts
from ..observe import UnreadableError, observe
from ..operations.bootstrap_daemon import NAMESPACES, bootstrap_daemon, no_bootstrap_daemon
from ..operations.files import File, files, no_files
from ..operations.images import pulled
from ..operations.leftovers import no_directories, no_links
from ..record import (
    BOOTSTRAP,
    BOOTSTRAP_BRIDGE,
    BOOTSTRAP_CONFIG,
    BOOTSTRAP_DATA,
    BOOTSTRAP_RUN,
    BOOTSTRAP_SOCKET,
    BOOTSTRAP_UNIT,
    DAEMON_JSON,
    ETCD_DATA,
    FLANNEL_RUN,
    RECORD,
    SUBNET_ENV,
)
from ..remote import run
from ..render import digest, render
from ..topology import Node
from . import etcd, flannel

TITLE = "bootstrap daemon"

BRIDGE_ADDRESS = "169.254.77.1/29"

INHERITED = ("registry-mirrors", "insecure-registries", "default-runtime", "runtimes", "storage-driver",
             "proxies", "dns", "exec-opts", "seccomp-profile", "default-ulimits", "features")  # fmt: skip
"""What a user's daemon.json says of registries and runtimes holds for the bootstrap daemon too."""
OF_ITS_STORE = ("storage-driver", "features")
"""Of these the bootstrap daemon keeps what it began with, as long as it has its configuration."""
OF_ONE_FILE_SYSTEM = ("btrfs", "zfs")
"""Storage drivers that start on a file system of their name only; where Docker's is another one, dockerd chooses."""


def proxies(node: Node) -> dict[str, str]:
    """Proxy variables for a daemon or a build: the cluster itself is never asked through a proxy."""
    wanted = node.settings
    found = {"HTTP_PROXY": wanted.http_proxy, "HTTPS_PROXY": wanted.https_proxy}
    result = {name: value for name, value in found.items() if value}
    if result:
        result["NO_PROXY"] = _no_proxy(node)
    return result


def _no_proxy(node: Node) -> str:
    """Hosts and networks that are reached without the proxy; not the DNS domain, for a change of it would
    restart both daemons, and neither asks names of it."""
    lan = str(node.interface.network)
    own = ("127.0.0.1", "localhost", lan, node.settings.flannel_network, node.settings.service_network, ".svc")
    return ",".join((*own, *(node.settings.no_proxy or "").split(","))).rstrip(",")


def _config(node: Node) -> File:
    present = _present(node)
    theirs = _inherited(node, node.found.daemon_json, present)
    secret = HIDDEN in json.dumps(theirs)
    if secret:
        theirs = _inherited(node, _read(node, DAEMON_JSON), present)
    config = theirs | {
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
    }
    text = json.dumps(config, indent=1, sort_keys=True) + "\n"
    return File(BOOTSTRAP_CONFIG, text, "600" if secret else "644", secret)


def _read(node: Node, path: str) -> dict[str, Any]:
    """A configuration that may have passwords, which no fact reads."""
    _, out, err = run(node.host, f'echo "== daemon.json"; cat {path}; echo; {END}')
    # a login shell may print something before and after it
    found = json_object("\n".join(parts(out.splitlines()).get("daemon.json", [])))
    if found is None:
        why = f": {err.strip().splitlines()[-1]}" if err.strip() else ""
        raise UnreadableError(f"{node.host.name}: {path} could not be read again{why}; run this again")
    return found


def _inherited(node: Node, theirs: dict[str, Any] | None, present: dict[str, Any] | None) -> dict[str, Any]:
    found = {key: theirs[key] for key in INHERITED if key in theirs} if theirs else {}
    if present is not None:  # with another store dockerd would not know etcd, which would go on beside a new one
        kept = {key: present[key] for key in OF_ITS_STORE if key in present}
        return {**{key: value for key, value in found.items() if key not in OF_ITS_STORE}, **kept}
    if found.get("storage-driver") in OF_ONE_FILE_SYSTEM and not _on_dockers_disk(node):
        del found["storage-driver"]
    return found


def _present(node: Node) -> dict[str, Any] | None:
    """The configuration that the bootstrap daemon has; None where it has none yet."""
    found = observe(HostFiles, node.host).ours(BOOTSTRAP_CONFIG)
    if found is None:
        return None
    return _read(node, BOOTSTRAP_CONFIG) if found.content is None else json_object(found.content)


def _on_dockers_disk(node: Node) -> bool:
    ours, theirs = (node.found.disks.get(path) for path in (BOOTSTRAP_DATA, node.docker_root))
    return ours is not None and theirs is not None and ours.device == theirs.device


def _revision(node: Node, config: File) -> str:
    """Tells configuration and unit from others; nobody shall find a password by it, who tries many."""
    text = config.content + _unit(node, "")
    if config.secret:
        return hashlib.scrypt(text.encode(), salt=BOOTSTRAP.encode(), n=2**14, r=8, p=1, dklen=6).hex()
    return digest(text)


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
        record=RECORD,
        etcd_data=ETCD_DATA,
        bridge=BOOTSTRAP_BRIDGE,
        namespaces=NAMESPACES,
        bridge_address=BRIDGE_ADDRESS,
    )


def apply(node: Node) -> None:
    """Write its unit and configuration, start it, pull the images of what runs in it."""
    config = _config(node)
    revision = _revision(node, config)
    wanted = [config, File(BOOTSTRAP_UNIT, _unit(node, revision))]
    since = observe(DaemonsFact, node.host).bootstrap_started
    files(name="Write the bootstrap daemon's unit", wanted=wanted, since=since)
    bootstrap_daemon(name="Run the bootstrap daemon", restart=node.restart, revision=revision, reads=wanted)
    images = [*([etcd.image(node)] if node.is_first_master else []), flannel.image(node)]
    pulled(name="Pull etcd and flannel", daemon="bootstrap", images=images, limit=node.settings.timeout_for_images)


def remove(node: Node) -> None:
    """Stop it; its images go with it, etcd's data does not lie there."""
    no_bootstrap_daemon(name="Stop the bootstrap daemon", restart=node.restart, unit=BOOTSTRAP_UNIT)
    no_files(name="Remove the bootstrap daemon's unit", paths=(BOOTSTRAP_UNIT, BOOTSTRAP_CONFIG))
    no_links(name="Remove the bootstrap daemon's bridge", links=(BOOTSTRAP_BRIDGE,))
    no_directories(
        name="Remove the bootstrap daemon's images",
        paths=(BOOTSTRAP_DATA, BOOTSTRAP_RUN, BOOTSTRAP_SOCKET, f"{BOOTSTRAP_RUN}.pid"),
    )
