"""Refuse what can't work, with a sentence, before anything is changed on any host."""

from __future__ import annotations

import ipaddress
import shlex
import time
from collections.abc import Callable, Iterator

from packaging.version import InvalidVersion, Version
from pyinfra.api import DeployError

from ..facts.platform import Platform
from ..observe import ask
from ..record import BOOTSTRAP_DATA
from ..settings import Settings
from ..topology import Node, active_nodes, refuse_twins, settings_of
from . import docker

TITLE = "preflight"

ONE_FOR_ALL = ("k8s_version", "etcd_version", "flannel_version", "flannel_network", "flannel_backend",
               "service_network", "dns_domain", "dns_server_ip", "master_ip")  # fmt: skip
"""Settings that make one cluster."""

Check = Callable[[Node], "str | None"]

NEEDED = ("ip", "iptables", "docker", "timeout", "tar", "base64")
CLOCK_SECONDS = 240
"""A certificate is valid from 300 s before it was issued (x509._builder)."""
MEMORY_KIB = {"master": 1_700_000, "worker": 700_000}
"""kubeadm asks 1700 MB of a control plane; less than 700 MB does not hold two daemons and a kubelet."""
PORTS = {
    "master": {2379: "etcd", 2380: "etcd", 2381: "etcd", 6443: "kube-apiserver", 10257: "kube-controller-manager",
               10259: "kube-scheduler"},
    "worker": {},
}  # fmt: skip
NODE_PORTS = {10250: "the kubelet", 10248: "the kubelet", 10249: "kube-proxy", 10256: "kube-proxy",
              10010: "cri-dockerd"}  # fmt: skip


def root(node: Node) -> str | None:
    """Operations run as root."""
    if node.found.uid != 0:
        return "the login is not root; set _sudo = True for it in the inventory, or run pyinfra with --sudo"
    return None


def master_answers(node: Node) -> str | None:
    """A worker joins by its master: certificates, the subnet, the API."""
    if ask(Platform, node.first_master) is None:
        return (
            f"its master {node.first_master.name} can't be reached over ssh; start it, or mend its address in the "
            "inventory"
        )
    return None


def tools(node: Node) -> str | None:
    """The host has the few commands that a run uses."""
    missing = [tool for tool in NEEDED if tool not in node.found.tools]
    if "docker" in missing:
        return "has no docker; install Docker 25 or newer first"
    return f"has no {', '.join(missing)}; install it first" if missing else None


def docker_runs(node: Node) -> str | None:
    """The main Docker answers."""
    if node.found.docker_api:
        return None
    return "Docker does not answer; look with: systemctl status docker"


def docker_api(node: Node) -> str | None:
    """Docker is new enough for the release's cri-dockerd, and not one of those that drop routed packets."""
    need, have = node.release.docker_api, node.found.docker_api
    try:
        old = Version(have) < Version(need)
        new = Version(node.found.docker_min_api or "0") > Version(need)
    except InvalidVersion:
        return f"Docker names its API version {have!r}, which is no version"
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
    version = docker.docker_version(node)
    if Version("28.0") <= version < Version("28.2"):
        return (
            f"has Docker {node.found.docker_version}, which drops packets that are routed to docker0 and has no "
            "way to allow them; install Docker 28.2 or newer, or 27"
        )
    if version >= Version("28.2") and node.settings.flannel_backend != "vxlan":
        return f"has Docker {node.found.docker_version}, with which only flannel_backend vxlan is supported"
    return None


#: Key in daemon.json → what is wrong with it. A value is allowed when it is in the second part.
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
    "exec-root": ("the kubelet expects /var/run/docker", ("/var/run/docker", "/run/docker")),
}


def daemon_json(node: Node) -> str | None:
    """daemon.json says nothing that the pod network can't live with."""
    config = node.found.daemon_json
    if config is None:
        return "/etc/docker/daemon.json is not a JSON object; mend it"
    for key, (why, allowed) in REFUSED_KEYS.items():
        if key in config and config[key] not in allowed:
            return f"/etc/docker/daemon.json sets {key} to {config[key]!r}, but {why}; take it out"
    return None


def docker_unit(node: Node) -> str | None:
    """The unit's command is one that flags can be added to."""
    command = docker.command_of(node.found.docker_unit, docker.drop_in_path(node))
    if command is None:
        return "docker.service has no ExecStart that can be read; look with: systemctl cat docker"
    if problem := _flags_of_others(node, command):
        return problem
    return None


def _flags_of_others(node: Node, command: str) -> str | None:
    """A flag in docker's unit, or in what the unit reads (DOCKER_OPTS), that daemon.json may not say either."""
    try:
        words = shlex.split(command)
    except ValueError:
        return f"docker.service's command can't be read: {command}"
    running = node.found.docker_flags if not node.found.subnet_env else ()
    for name, value in _flags((*words[1:], *running)):
        if name in REFUSED_KEYS and value not in REFUSED_KEYS[name][1]:
            return f"docker.service runs dockerd with --{name}={value}, but {REFUSED_KEYS[name][0]}; take it out"
    return None


def _flags(words: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Flags with their values: ``--a=b``, ``--a b``, ``--a`` (true), ``-b c`` (dockerd's short --bridge)."""
    for word, following in zip(words, (*words[1:], "-"), strict=True):
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            continue
        if not equals:
            value = "true" if following.startswith("-") else following
        name = "bridge" if name == "-b" else name.removeprefix("--")
        yield name, {"true": True, "false": False}.get(value, value)


def docker_options(node: Node) -> str | None:
    """Rootless and user namespaces can't carry a kubelet."""
    options = node.found.docker_info.get("SecurityOptions") or []
    for option in options if isinstance(options, list) else []:
        if "name=rootless" in str(option) or "name=userns" in str(option):
            return f"Docker runs with {str(option).removeprefix('name=')}; the kubelet needs it without"
    swarm = node.found.docker_info.get("Swarm") or {}
    if isinstance(swarm, dict) and swarm.get("LocalNodeState") not in (None, "", "inactive"):
        return "Docker is part of a swarm; leave it first with: docker swarm leave"
    return None


def docker_root(node: Node) -> str | None:
    """dockerd unmounts what begins with the text of its root's path; the bootstrap daemon's must not."""
    root = node.docker_root
    if BOOTSTRAP_DATA.startswith(root.rstrip("/")):
        return f"Docker's data-root is {root}, of which {BOOTSTRAP_DATA} would be a part; move it to /var/lib/docker"
    return None


def cgroups(node: Node) -> str | None:
    """The memory controller is there: Raspberry Pi OS leaves it off."""
    if node.found.controllers and "memory" not in node.found.controllers:
        return (
            "the memory cgroup is off; add cgroup_enable=memory to the kernel's command line "
            "(/boot/firmware/cmdline.txt on a Raspberry Pi) and reboot"
        )
    return None


def shared_mounts(node: Node) -> str | None:
    """The kubelet's mounts must reach the host."""
    state = node.found.propagation.get("/var/lib/kubelet") or node.found.propagation.get("/")
    if state == "private":
        return "/ is not a shared mount; run: mount --make-rshared / (systemd does it at boot)"
    return None


def arch_exists(node: Node) -> str | None:
    """The release is built for the host's arch."""
    if node.arch not in node.release.arches:
        return (
            f"is {node.arch}, for which Kubernetes {node.settings.k8s_version} is not built; "
            f"it is for {', '.join(node.release.arches)}"
        )
    return None


def firewall(node: Node) -> str | None:
    """firewalld flushes Docker's and kube-proxy's rules when it reloads."""
    if "firewalld" in node.found.active:
        return "firewalld is running, which takes Docker's and kube-proxy's rules away when it reloads; stop it"
    return None


def memory(node: Node) -> str | None:
    """Enough memory for the role."""
    have, need = node.found.memory_kib, MEMORY_KIB[node.role]
    if have and have < need:
        return f"has {have // 1024} MiB of memory; a {node.role} needs {need // 1024}"
    return None


def routes(node: Node) -> str | None:
    """The pod and service networks overlap no route of the host."""
    wanted = {"flannel_network": node.settings.flannel_network, "service_network": node.settings.service_network}
    # docker0 is about to move into the pod network; once it did, routes to other nodes' subnets are flannel's
    ours = {"docker0"} | ({"flannel.1", node.interface.name} if node.found.subnet_env else set())
    for route in node.found.routes:
        destination, _, device = route.partition(" ")
        try:
            network = ipaddress.IPv4Network(destination, strict=False)
        except ValueError:
            continue
        for setting, value in wanted.items():
            pods = ipaddress.IPv4Network(value)
            own = setting == "flannel_network" and device in ours
            if network.overlaps(pods) and not (own and (device == "docker0" or network.subnet_of(pods))):
                return f"{setting} {value} overlaps the host's route to {destination} by {device}; move the network"
    return None


def recorded_network(node: Node) -> str | None:
    """A node keeps its subnet for life, so the pod network can't move under it."""
    for line in node.found.subnet_env.splitlines():
        if line.startswith("FLANNEL_NETWORK=") and line != f"FLANNEL_NETWORK={node.settings.flannel_network}":
            return (
                f"is a node in the pod network {line.split('=', 1)[1]}; flannel_network can't be changed under it. "
                "Set it back, or turn the cluster down with purge_data=true"
            )
    return None


def same_node(node: Node) -> str | None:
    """A node keeps its name, role and address."""
    for key in ("name", "role", "address"):
        have = node.found.record.get(key)
        if have and have != getattr(node, key):
            return (
                f"is recorded as a node with the {key} {have}, now it would be {getattr(node, key)}; set it back, "
                "or turn the host down first"
            )
    return None


def version_change(node: Node) -> str | None:
    """Another patch of the same minor is applied; an upgrade is more than that."""
    have = str(node.found.record.get("kubernetes", ""))
    if have and have.rsplit(".", 1)[0] != node.settings.k8s_version.rsplit(".", 1)[0]:
        return (
            f"runs Kubernetes {have}; going to {node.settings.k8s_version} is an upgrade of the minor version, which "
            f"is not supported yet. Set k8s_version to a {have.rsplit('.', 1)[0]} version"
        )
    return None


def clock(node: Node) -> str | None:
    """Certificates are issued by this machine's clock and checked by the host's."""
    off = node.found.time - int(time.time())
    if abs(off) > CLOCK_SECONDS:
        return (
            f"its clock is {abs(off)} s {'ahead of' if off > 0 else 'behind'} this machine's; certificates would not "
            "be valid there. Set it, and keep it with NTP"
        )
    return None


def ports(node: Node) -> str | None:
    """Nothing else listens where our programs will."""
    if node.found.record:
        return None  # they are ours by now
    for port, owner in {**PORTS[node.role], **NODE_PORTS}.items():
        if port in node.found.listening:
            return f"port {port}, which {owner} needs, is in use; look with: ss -ltnp 'sport = :{port}'"
    return None


def foreign_kubernetes(node: Node) -> str | None:
    """Another installer's cluster is not overwritten."""
    if node.found.foreign_kubernetes:
        return (
            f"{node.found.foreign_kubernetes[0]} is there, and not from us: another Kubernetes seems to be "
            "installed; remove it first (kubeadm reset)"
        )
    return None


def etcd_has_its_authority(node: Node) -> str | None:
    """An etcd whose authority is gone would be lost to every client."""
    if node.is_first_master and node.found.etcd_data and not node.found.etcd_ca:
        return (
            "has etcd data in /var/lib/etcd, but its authority /etc/kubernetes/pki/etcd/ca.crt is gone; put it "
            "back, or move the data away"
        )
    return None


def docker_restart(node: Node) -> str | None:
    """The restart of the main Docker takes down nothing for good that nobody announced."""
    return _unannounced(node) if docker.lost(node) and docker.restart_due(node) else None


def docker_restart_back(node: Node) -> str | None:
    """The same, where a turndown restarts it as it was."""
    return _unannounced(node) if docker.lost(node) and docker.runs_ours(node) else None


def _unannounced(node: Node) -> str | None:
    lost = docker.lost(node)
    if not node.settings.allow_docker_restart:
        return (
            f"the main Docker must be restarted, and {', '.join(lost)} would stay down for want of a restart "
            "policy; give them one (docker update --restart=unless-stopped), or set allow_docker_restart=true"
        )
    return None


CHECKS: tuple[Check, ...] = (
    root, master_answers, tools, docker_runs, docker_api, daemon_json, docker_unit, docker_options, docker_root,
    arch_exists, cgroups, shared_mounts, clock, memory, firewall, foreign_kubernetes, etcd_has_its_authority,
    same_node, version_change, recorded_network, routes, ports, docker_restart,
)  # fmt: skip
REMOVE_CHECKS: tuple[Check, ...] = (root, docker_restart_back)


def problems(node: Node, checks: tuple[Check, ...]) -> Iterator[str]:
    """The sentences of the checks that a node does not pass."""
    for check in checks:
        if problem := check(node):
            yield f"{node.host.name}: {problem}"


def cluster_problems(nodes: list[Node], master: Settings) -> Iterator[str]:
    """What is wrong between nodes: settings that must be the same everywhere, too small a network."""
    for name in ONE_FOR_ALL:
        first: dict[object, str] = {}
        for node in nodes:
            first.setdefault(getattr(node.settings, name), node.host.name)
        # also where the master takes no part in the run
        first.setdefault(getattr(master, name), nodes[0].first_master.name)
        if len(first) > 1:
            said = ", ".join(f"{value} for {host}" for value, host in first.items())
            yield f"{name} must be the same on all nodes, but it is {said}; set it in group_data/all.py"
    room = 2 ** (24 - ipaddress.IPv4Network(nodes[0].settings.flannel_network).prefixlen) - 1
    if len(nodes) > room:
        yield (
            f"flannel_network {nodes[0].settings.flannel_network} has room for {room} nodes (a /24 each, flannel "
            f"leaves the first one out), but the run has {len(nodes)}; take a larger network"
        )


def _refuse(node: Node, checks: tuple[Check, ...]) -> None:
    nodes = active_nodes()
    refuse_twins(nodes)
    for problem in cluster_problems(nodes, settings_of(node.first_master)):
        raise DeployError(problem)
    for problem in problems(node, checks):
        raise DeployError(problem)


def apply(node: Node) -> None:
    """Look at everything that is known before the run.

    :raises DeployError: something can't work.
    """
    _refuse(node, CHECKS)


def remove(node: Node) -> None:
    """Only what a turndown needs: it must work on a broken host too."""
    _refuse(node, REMOVE_CHECKS)
