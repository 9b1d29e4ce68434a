"""Docker: its version and all that is set of it, in daemon.json and in its unit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from .. import dockerd
from ..facts.daemons import DaemonsFact
from ..facts.docker import name_taken
from ..facts.files import HostFiles
from ..facts.hiding import HIDDEN
from ..facts.sections import shown
from ..observe import observe
from ..operations.docker0 import restores
from ..phases import docker
from ..record import (
    BEFORE_PATHS,
    BOOTSTRAP,
    BOOTSTRAP_DATA,
    BOOTSTRAP_UNIT,
    DAEMON_JSON,
    DOCKER_DROP_IN,
    KUBELET_CONTAINER,
)
from ..topology import Node


def docker_runs(node: Node) -> str | None:
    """The main Docker answers."""
    if node.found.docker_api:
        return None
    if node.found.init == "systemd" and not any(node.found.docker_unit):
        return (
            "there is no docker.service. Docker as a snap, a rootless one and podman's docker do not work; install "
            "Docker's own package or the distribution's"
        )
    if twice := ", ".join(dockerd.told_twice(node)):
        return (
            f"Docker does not start, since {DAEMON_JSON} sets {twice}, as does our drop-in by a flag; take "
            "it out and run: systemctl restart docker. Then put it back and run this again, before the next restart"
        )
    if (gone := dockerd.names_another_dockerd(node)) is not None:
        return (
            f"Docker does not answer, and our drop-in runs {gone}, where this host has {node.found.dockerd}: was its "
            f"package replaced? Run: rm {DOCKER_DROP_IN}; systemctl daemon-reload; systemctl restart docker; then "
            "run this again"
        )
    return "Docker does not answer; look with: systemctl status docker, or start it: systemctl enable --now docker"


def docker_api(node: Node) -> str | None:
    """Docker is new enough for the release's cri-dockerd, and not one of those that drop routed packets."""
    need, have = node.release.docker_api, node.found.docker_api
    try:
        old = Version(have) < Version(need)
        new = Version(node.found.docker_min_api or "0") > Version(need)
    except InvalidVersion:
        return f"Docker names its API version {shown(have)}, which is no version"
    if old:
        return (
            f"has Docker {node.found.docker_version} (API {have}); Kubernetes {node.settings.k8s_version} "
            f"needs API {need}, which is Docker 25 or newer"
        )
    if new:
        return (
            f"has Docker {node.found.docker_version}, which speaks no API older than {node.found.docker_min_api}; "
            f"cri-dockerd {node.release.cri_dockerd.version} speaks {need}. Set DOCKER_MIN_API_VERSION={need} for "
            "dockerd, or install an older Docker"
        )
    version = dockerd.docker_version(node)
    if version == Version("0"):
        return f"Docker names its version {shown(node.found.docker_version)}, which is no version"
    if Version("28.0") <= version < Version("28.2"):
        return (
            f"has Docker {node.found.docker_version}, which drops packets that are routed to docker0 and has no "
            "way to allow them; install Docker 28.2 or newer, or 27"
        )
    if dockerd.drops_routed(node) and not node.backend.link:
        return f"has Docker {node.found.docker_version}, with which only flannel_backend vxlan is supported"
    return None


REFUSED_KEYS: dict[str, tuple[str, tuple[object, ...]]] = {
    "bip": ("docker0 gets its address from flannel", ()),
    "fixed-cidr": ("docker0 gets its subnet from flannel", ()),
    "default-gateway": ("docker0 is the pods' gateway", ()),
    "bridge": ("pods are on docker0", ("docker0", "")),
    "mtu": ("docker0's MTU follows flannel's", ()),
    "ip-masq": ("flannel decides about masquerading", ()),
    "iptables": ("Docker's own rules carry hostPorts", (True,)),
    "ip-forward": ("pods' packets are forwarded", (True,)),
    "icc": ("pods talk to each other over docker0", (True,)),
    "userland-proxy": ("a pod could not reach itself through its Service", (False,)),
    "live-restore": ("Docker then keeps docker0's old address", (False,)),
    "userns-remap": ("the kubelet's container needs the host's users", ("",)),
    "log-driver": ("the kubelet reads json-file logs only", ("json-file",)),
    "firewall-backend": ("flannel and kube-proxy use iptables", ("iptables",)),
    "allow-direct-routing": ("pods' packets are routed to docker0", (True,)),
    # container_t may not read what lies in /etc/kubernetes (container-selinux: kubernetes_file_t)
    "selinux-enabled": ("the control plane could then not read its keys", (False,)),
    "exec-root": ("the kubelet expects /var/run/docker", ("/var/run/docker", "/run/docker")),
}
"""Key in daemon.json → what is wrong with it. A value is allowed when it is in the second part."""


_HOW: dict[str, str] = {
    # dockerd's reload leaves a key that is gone as it was (moby, daemon/reload.go)
    "live-restore": "set it to false there and run: systemctl reload docker; after that you may take it out",
}
"""Key in daemon.json → what to do where taking it out is not enough."""
_HOW_OF_FLAG: dict[str, str] = {
    "live-restore": "take it out and restart Docker; that leaves containers with the restart policy unless-stopped "
    "down: start them again",
}
"""The same for flags."""
_OUT = "take it out and run: systemctl restart docker"
"""What is to be done with a flag: dockerd has it until then."""


def daemon_json(node: Node) -> str | None:
    """daemon.json says nothing that the pod network can't live with."""
    config = node.found.daemon_json
    if config is None:
        return f"{DAEMON_JSON} is not a JSON object; mend it"
    for key, (why, allowed) in REFUSED_KEYS.items():
        if key in config and config[key] not in allowed:
            how = _HOW.get(key, "take it out")
            return f"{DAEMON_JSON} sets {key} to {shown(config[key])}, but {why}; {how}"
    return None


def docker_unit(node: Node) -> str | None:
    """The unit's command is one that flags can be added to."""
    command = dockerd.command(node)
    if command is None:
        return "docker.service has no ExecStart that can be read; look with: systemctl cat docker"
    if HIDDEN in command:
        return (
            "docker.service's command has a name and password in a URL, and a plan shows a copy of it; write the proxy "
            f"into Environment= of a drop-in, or into proxies in {DAEMON_JSON}"
        )
    return _flags_of_others(node, command)


_NOT_IN_UNIT = " (by a variable, of Environment= or of a file that EnvironmentFile= names, or since it was started)"
"""After a flag that dockerd runs with and that stands in no ExecStart."""


def _flags_of_others(node: Node, command: str) -> str | None:
    """A flag in docker's unit, or in what the unit reads (DOCKER_OPTS), that daemon.json may not say either."""
    try:
        words = shlex.split(command)
    except ValueError:
        return f"docker.service's command can't be read: {command}"
    of_unit = dict(_flags(tuple(words[1:])))
    every = {**of_unit, **dict(_flags(dockerd.their_flags(node)))}
    if (config := every.get("config-file", DAEMON_JSON)) != DAEMON_JSON:
        return (
            f"docker.service runs dockerd with --config-file={config}; move what that says into {DAEMON_JSON}, {_OUT}"
        )
    found = [
        f"--{name}={value}{'' if name in of_unit else _NOT_IN_UNIT}, but {REFUSED_KEYS[name][0]}; "
        + _HOW_OF_FLAG.get(name, _OUT)
        for name, value in every.items()
        if name in REFUSED_KEYS and value not in REFUSED_KEYS[name][1]
    ]
    return f"docker.service runs dockerd with {'; and with '.join(found)}" if found else None


def _flags(words: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Flags with their values: ``--a=b``, ``--a b``, ``--a`` (true), ``-b c`` (dockerd's short --bridge)."""
    for word, following in zip(words, (*words, "-")[1:], strict=True):
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            continue
        if not equals:
            value = "true" if following.startswith("-") else following
        name = "bridge" if name == "-b" else name.removeprefix("--")
        yield name, {"true": True, "false": False}.get(value, value)


def bootstrap_name(node: Node) -> str | None:
    """The bootstrap daemon's unit is ours or not there: other set-ups of Kubernetes give theirs this name."""
    state, files = observe(DaemonsFact, node.host).bootstrap, observe(HostFiles, node.host)
    if not (state.active or state.down) or files.ours(BOOTSTRAP_UNIT) or files.ours(BEFORE_PATHS):
        return None
    return (
        f"{BOOTSTRAP}.service is there, and is not of docker-multinode; remove it first, by what installed it or with: "
        f"systemctl disable --now {BOOTSTRAP}, its file and systemctl daemon-reload"
    )


def docker_names(node: Node) -> str | None:
    """No container of somebody else's has the name of ours."""
    others = observe(DaemonsFact, node.host).main.others
    return name_taken(KUBELET_CONTAINER, "main") if KUBELET_CONTAINER in others else None


def name_server(node: Node) -> str | None:
    """Pods reach the host's name server. Docker before 29 (moby#49981) keeps networks apart also where one asks another
    by the host's address, and its proxy, by which that went, is off on a node."""
    if dockerd.docker_version(node) >= Version("29") or "resolv-conf" in node.settings.kubelet_extra_args:
        return None
    asked = [i.address for i in node.found.interfaces if i.address in (node.found.resolvers or ())]
    servers = [other.name for other in observe(DaemonsFact, node.host).main.running_others if other.name_server]
    if not asked or not servers:
        return None
    return (
        f"{node.found.resolv_conf} names {asked[0]}, where the container {servers[0]} answers, which pods and others "
        "on other networks would not reach; run it with network_mode: host, or let the host ask another name server"
    )


def swarm(node: Node) -> str | None:
    """A swarm puts its own containers on this Docker, and does not expect it on another subnet."""
    return "Docker is part of a swarm; leave it first with: docker swarm leave" if node.found.swarm else None


def docker_root(node: Node) -> str | None:
    """dockerd unmounts what begins with the text of its root's path; the bootstrap daemon's must not."""
    root = node.docker_root
    if BOOTSTRAP_DATA.startswith(root.rstrip("/")):
        return f"Docker's data-root is {root}, of which {BOOTSTRAP_DATA} would be a part; move it to /var/lib/docker"
    return None


def docker_restart(node: Node) -> str | None:
    """The restart of the main Docker takes down nothing for good that nobody announced."""
    sentence = _unannounced(node)
    return sentence if sentence and docker.restart_due(node) else None


def docker_restart_back(node: Node) -> str | None:
    """The same, where a turndown restarts it as it was."""
    sentence = _unannounced(node)
    return sentence if sentence and restores(node) else None


def _unannounced(node: Node) -> str | None:
    theirs = docker.bounced(node)
    names = sorted(theirs.without_policy + theirs.lost)
    if not names or node.settings.allow_docker_restart:
        return None
    gone = f", but for {', '.join(theirs.lost)}, which --rm removes" if theirs.lost else ""
    return (
        f"the main Docker must be restarted, and {', '.join(names)} would stay down, since no restart policy "
        "starts them again; give them one (docker update --restart=always), or set allow_docker_restart=true, with "
        f"which the run starts them again{gone}"
    )
