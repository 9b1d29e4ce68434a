"""Every option once: name, type, default, help. docs/options.md is generated from this table.

Order of precedence: ``--data``, host data, group data, for some the environment of the pyinfra command
(upper case), the default.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from pyinfra.api import DeployError

from . import flags, releases, values
from .backends import BACKENDS

ADDONS = ("coredns", "metrics-server", "headlamp")

FROM_ENVIRONMENT = ("k8s_version", "etcd_version", "flannel_version", "flannel_ipmasq", "flannel_network",
                    "flannel_backend", "dns_domain", "dns_server_ip", "restart_policy", "master_ip", "net_interface",
                    "ip_address", "timeout_for_services")  # fmt: skip
"""What the 2016 scripts read from the environment is read there too, but ARCH, which the host tells. Other names are
not: shells carry HTTP_PROXY, NODE_NAME or KUBELET_EXTRA_ARGS for other programs, each operator's another."""


def option(parse: values.Parser, default: Any, help: str, unset: str = "", *, per_host: bool = False) -> Any:
    """One setting: how it is checked, its default and what it does.

    :param unset: what holds where the default is None, for people.
    :param per_host: differs from host to host: refused from the environment where the inventory has several.
    """
    metadata = {"parse": parse, "default": default, "help": help, "unset": unset, "per_host": per_host}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The checked settings of one host."""

    k8s_version: str = option(values.kubernetes_version, releases.newest(), "Kubernetes version.")
    etcd_version: str | None = option(values.tag, None, "Tag of the etcd image.", "the release's own")
    flannel_version: str | None = option(values.tag, None, "Tag of the flannel image.", "the release's own")
    flannel_network: str = option(
        values.pod_network,
        "10.1.0.0/16",
        "The pod network; each node takes a /24 of it, which becomes docker0's.",
    )
    flannel_backend: str = option(
        values.one_of(*BACKENDS),
        "vxlan",
        "How packets travel between nodes: vxlan (UDP 8472) or host-gw (all nodes on one Ethernet, Docker older than "
        "28.2).",
    )
    flannel_ipmasq: bool = option(
        values.boolean, True, "flannel masquerades what leaves the pod network; false leaves that to Docker."
    )
    service_network: str = option(values.service_network, "10.96.0.0/12", "Addresses of Services.")
    dns_domain: str = option(values.dns_domain, "cluster.local", "DNS domain of the cluster.")
    dns_server_ip: str = option(
        values.ip_address,
        None,
        "Service address of the cluster's DNS.",
        "the tenth address of service_network",
    )
    restart_policy: str = option(
        values.one_of("unless-stopped", "always"),
        # measured on 26.1.5 and 28.5.2: of the containers that a killed dockerd left, the next one stops those with
        # unless-stopped as if a user did, and they stay down
        "always",
        "Docker restart policy of our own containers. `unless-stopped` leaves them down after dockerd was killed.",
    )
    master_ip: str | None = option(
        values.ip_address,
        None,
        "Address at which nodes reach the master's apiserver and etcd.",
        "the first master's ip_address",
    )
    ip_address: str | None = option(
        values.ip_address,
        None,
        "This host's address in the cluster.",
        "the address of net_interface",
        per_host=True,
    )
    net_interface: str | None = option(
        values.interface,
        None,
        "Interface that carries the traffic between nodes.",
        "the one of ip_address, else of the default route",
        per_host=True,
    )
    arch: str | None = option(
        values.one_of("amd64", "arm", "arm64", "ppc64le"),
        None,
        "Architecture of this host; no release has `arm`.",
        "what the host says",
        per_host=True,
    )
    node_name: str | None = option(
        values.node_name,
        None,
        "Name of the node in Kubernetes.",
        "the host's own name in lower case",
        per_host=True,
    )
    image_registry: str | None = option(
        values.registry,
        None,
        "Registry that replaces the host part of every image but `node_image`; the path is kept.",
        "upstream's",
    )
    node_image: str | None = option(
        values.image, None, "A ready-made node image (kubelet and cri-dockerd).", "built on each host"
    )
    binaries_url: str | None = option(
        values.url,
        None,
        "Where kubelet, kubectl and cri-dockerd are fetched from when the node image is built, in "
        "upstream's path layout with a .sha256 beside each file.",
        "https://dl.k8s.io and https://github.com",
    )
    http_proxy: str | None = option(values.url, None, "Proxy for http, used by both daemons and the build.", "none")
    https_proxy: str | None = option(values.url, None, "Proxy for https, used by both daemons and the build.", "none")
    no_proxy: str | None = option(
        values.no_proxy, None, "What is reached without the proxy, besides the cluster.", "none"
    )
    apiserver_cert_sans: tuple[str, ...] = option(
        values.names, (), "More names and addresses that the apiserver's certificate is good for."
    )
    certificate_days: int = option(values.days, 365, "Lifetime of the certificates that are issued, in days.")
    renew_certificates: bool = option(
        values.boolean,
        False,
        "Issue certificates anew, also good ones; not the authorities, and not what the kubelets renew themselves. "
        "For one run: with `--data`, else each run does it again.",
    )
    apiserver_extra_args: Mapping[str, str] = option(values.extra_args, {}, "More flags for kube-apiserver.")
    controller_manager_extra_args: Mapping[str, str] = option(
        values.extra_args, {}, "More flags for kube-controller-manager."
    )
    scheduler_extra_args: Mapping[str, str] = option(values.extra_args, {}, "More flags for kube-scheduler.")
    kubelet_extra_args: Mapping[str, str] = option(values.extra_args, {}, "More flags for the kubelet.")
    kubelet_paths: tuple[str, ...] = option(
        values.directories,
        ("/home", "/media", "/mnt", "/opt", "/srv"),
        "Directories of the host that the kubelet sees, besides /dev, /run and /sys: a hostPath with a `type` or a "
        "`subPath`, and a `local` volume, must lie there. They are made where they are missing.",
    )
    kube_proxy_extra_args: Mapping[str, str] = option(
        values.extra_args,
        {},
        "More flags for kube-proxy about its log, like v and vmodule; others are refused, since it would ignore them "
        "beside its configuration file.",
    )
    etcd_extra_args: Mapping[str, str] = option(values.extra_args, {}, "More flags for etcd.")
    addons: tuple[str, ...] = option(values.some_of(*ADDONS), ADDONS, "Which addons the cluster gets.")
    allow_docker_restart: bool = option(
        values.boolean,
        False,
        "Restart the main Docker also where containers run that their restart policy does not start again; the run "
        "does, but for those of `docker run --rm`, which are gone then.",
    )
    timeout_for_services: int = option(values.seconds, 180, "How long to wait for one service to come up, in seconds.")
    timeout_for_images: int = option(values.seconds, 1800, "How long pulling and building images may take, in seconds.")
    timeout_for_drain: int = option(
        values.seconds,
        180,
        "How long a turndown waits for a node's pods to go elsewhere, in seconds; then the node is deleted all the "
        "same.",
    )
    kubeconfig_path: str = option(
        values.path, "./kubeconfig", "Where deploys/kubeconfig.py writes, on the control machine."
    )
    kubeconfig_server: str | None = option(
        values.name_or_address,
        None,
        "Name or address of the apiserver in that kubeconfig; it must be in its certificate.",
        "master_ip",
    )
    status_format: str = option(
        values.one_of("table", "json"), "table", "How deploys/status.py prints: a table for people, or json."
    )
    evidence_path: str | None = option(
        values.path,
        None,
        "Where deploys/evidence.py writes its archive, on the control machine; never over a file.",
        "`docker-multinode-evidence-TIME.tar.gz` in the working directory",
    )
    backup_path: str | None = option(
        values.path,
        None,
        "Where deploys/backup.py also copies the archive, on the control machine: a new file, or a directory. The "
        "archive holds the authorities' keys and the cluster's Secrets.",
        "not copied",
    )
    restore_from: str | None = option(
        values.path,
        None,
        "The archive that deploys/restore.py restores: a path on the master or, where it is not there, on the "
        "control machine.",
        "refused",
    )
    purge_data: bool = option(
        values.boolean,
        False,
        "deploys/turndown.py also removes the data: etcd, keys, backups, the node's subnet, images of ours.",
    )

    @property
    def release(self) -> releases.Release:
        """What belongs to the Kubernetes version."""
        found = releases.find(self.k8s_version)
        assert found is not None  # load refuses what the catalogue does not have
        return found

    def image(self, reference: str) -> str:
        """An image's reference, with the registry's host replaced where ``image_registry`` says so."""
        return f"{self.image_registry}/{reference.split('/', 1)[1]}" if self.image_registry else reference

    def network_of(self, address: str) -> str | None:
        """The setting and its network in which an address lies; None where it is in neither, or none of IPv4."""
        try:
            wanted = ipaddress.IPv4Address(address)
        except ValueError:
            return None
        networks = {name: getattr(self, name) for name in ("flannel_network", "service_network")}
        return next(
            (f"{name} {text}" for name, text in networks.items() if wanted in ipaddress.IPv4Network(text)), None
        )

    def printed(self) -> list[str]:
        """``K8S_VERSION is set to: v1.37.2`` and so on, as the 2016 scripts printed them."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        return [
            f"{name.upper()} is set to: {_shown(value)}" for name, value in shown.items() if value not in (None, (), {})
        ]


OPTIONS: Mapping[str, Mapping[str, Any]] = {f.name: f.metadata for f in fields(Settings)}

_FOREIGN = re.compile(r"_|ssh_|docker_|winrm_|local_|fake_|is_|group")
"""What pyinfra itself and its connectors read from host data."""


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, Mapping):
        return " ".join(f"--{k}={v}" for k, v in value.items())
    return str(value)


def load(data: Mapping[str, Any], environ: Mapping[str, str], hosts: int = 1) -> Settings:
    """Read and check the settings of one host.

    :param data: pyinfra's data of the host (``--data``, host and group data already merged).
    :param environ: environment of the pyinfra command.
    :param hosts: how many hosts the inventory has; one-host settings are refused from the environment of more.
    :raises DeployError: a value is wrong, or a name is almost one of ours.
    """
    _refuse_misspelt(data, environ)
    result = {name: _value(name, data, environ, hosts) for name in OPTIONS}
    if result["dns_server_ip"] is None:
        result["dns_server_ip"] = str(ipaddress.IPv4Network(result["service_network"])[10])
    settings = Settings(**result)
    _check_together(settings)
    return settings


def _value(name: str, data: Mapping[str, Any], environ: Mapping[str, str], hosts: int) -> Any:
    option, upper = OPTIONS[name], name.upper()
    if data.get(name) is not None:
        raw, origin = data[name], f"setting {name}"
    elif name in FROM_ENVIRONMENT and environ.get(upper):
        raw, origin = environ[upper], f"environment variable {upper}"
        if option["per_host"] and hosts > 1:
            raise DeployError(
                f"{origin} would be the same on all {hosts} hosts of the inventory; "
                f"write {name} as host data there instead"
            )
    else:
        return option["default"]
    try:
        return option["parse"](raw)
    except ValueError as error:
        raise DeployError(f"{origin} {error}") from None


def _refuse_misspelt(data: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    for name in data:
        if not isinstance(name, str) or name in OPTIONS or _FOREIGN.match(name):
            continue
        lower = name.lower().replace("-", "_")
        if close := lower if lower in OPTIONS else _close(lower, 0.85):
            written = name if name.isprintable() else values.shown(name)
            raise DeployError(f"unknown setting {written}; did you mean {close}?")
    for name in environ:
        # the environment is not ours alone: only what can hardly be anything else
        lower = name.lower()
        if (
            name.isupper()
            and "_" in name
            and lower not in OPTIONS
            and (close := _close(lower, 0.9)) in FROM_ENVIRONMENT
        ):
            raise DeployError(f"unknown environment variable {name}; did you mean {close.upper()}?")


@cache
def _close(name: str, cutoff: float) -> str | None:
    # many hosts have the same data, and all of them the same environment
    return next(iter(difflib.get_close_matches(name, OPTIONS, 1, cutoff)), None)


def _check_together(settings: Settings) -> None:
    release = releases.find(settings.k8s_version)
    if release is None:
        raise DeployError(
            f"setting k8s_version is {settings.k8s_version}, which is not in the catalogue; "
            f"it has {releases.known_versions()}"
        )
    pods = ipaddress.IPv4Network(settings.flannel_network)
    services = ipaddress.IPv4Network(settings.service_network)
    if pods.overlaps(services):
        raise DeployError(f"flannel_network {pods} and service_network {services} overlap; move one of them")
    dns = ipaddress.IPv4Address(settings.dns_server_ip)
    if dns not in services or dns in (services[0], services[1], services[-1]):
        raise DeployError(
            f"dns_server_ip {dns} is not a free address of service_network {services}; write for example {services[10]}"
        )
    for name in ("ip_address", "master_ip"):
        address = getattr(settings, name)
        if address and (network := settings.network_of(address)):
            raise DeployError(f"{name} {address} lies in {network}; move the network")
    if settings.image_registry and settings.node_image and "/" not in settings.node_image:
        raise DeployError(
            f"node_image {settings.node_image} names no registry; write it with one, like "
            f"{settings.image_registry}/{settings.node_image}"
        )
    flags.check({name: getattr(settings, name) for name, o in OPTIONS.items() if o["parse"] is values.extra_args})
