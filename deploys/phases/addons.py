"""What every cluster needs inside: roles, DNS, metrics, the dashboard; each addon can be left out."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import yaml
from pyinfra.api.host import Host

from ..facts.kubernetes import ADDON, Objects
from ..observe import Question
from ..operations.kubernetes import objects
from ..render import digest, render
from ..settings import Settings
from ..static_pods import REVISION
from ..topology import Node
from .control_plane import unstick

TITLE = "addons"

# libyaml's, where PyYAML has them, are several times as quick
_Loader, _Dumper = getattr(yaml, "CSafeLoader", yaml.SafeLoader), getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def images(wanted: Settings) -> dict[str, str]:
    """Addon → reference of its image."""
    release = wanted.release
    every = {
        "coredns": f"registry.k8s.io/coredns/coredns:{release.coredns}",
        "metrics-server": f"registry.k8s.io/metrics-server/metrics-server:{release.metrics_server}",
        "headlamp": f"ghcr.io/headlamp-k8s/headlamp:{release.headlamp}",
    }
    return {name: wanted.image(every[name]) for name in wanted.addons}


def manifest(wanted: Settings) -> str:
    """All objects of ours as YAML, each with the label of its addon."""
    every = {"cluster": "", **images(wanted)}
    return "---\n".join(_objects(addon, every[addon], wanted.dns_domain, wanted.dns_server_ip) for addon in every)


@cache  # a run asks several times
def _objects(addon: str, image: str, dns_domain: str, dns_server_ip: str) -> str:
    text = render(f"addons/{addon}.yaml.j2", image=image, dns_domain=dns_domain, dns_server_ip=dns_server_ip)
    documents = _with_revision(list(yaml.load_all(text, Loader=_Loader)))
    for document in documents:
        document["metadata"].setdefault("labels", {})[ADDON] = addon
    return "---\n".join(yaml.dump(document, Dumper=_Dumper, sort_keys=False) for document in documents)


def _with_revision(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Deployments with a mark of the addon's configuration: their pods are replaced when it changes, where CoreDNS'
    own reload would leave one replica with the old answers for up to two minutes."""
    config = [document["data"] for document in documents if document["kind"] == "ConfigMap"]
    revision = digest(json.dumps(config))
    for document in documents:
        if config and document["kind"] == "Deployment":
            document["spec"]["template"]["metadata"].setdefault("annotations", {})[REVISION] = revision
    return documents


def question(master: Host, wanted: Settings) -> Question:
    """How they stand in the API, as the phase will ask: the settings of the first master alone decide it."""
    return Objects, master, {"manifest": manifest(wanted)}


def apply(node: Node) -> None:
    """Apply them on the first master."""
    if not node.is_first_master:
        return
    objects(
        name="Apply addons",
        manifest=manifest(node.settings),
        addons=("cluster", *node.settings.addons),
        limit=node.settings.timeout_for_services,
        first=unstick(node),
    )


def remove(node: Node) -> None:
    """They live in etcd: they go with its data, and come back with it."""
