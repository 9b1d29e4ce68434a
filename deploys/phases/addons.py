"""What every cluster needs inside: roles, DNS, metrics, the dashboard; each addon can be left out."""

from __future__ import annotations

import yaml

from ..facts.kubernetes import ADDON
from ..operations.kubernetes import objects
from ..render import render
from ..topology import Node

TITLE = "addons"


def images(node: Node) -> dict[str, str]:
    """Addon → reference of its image."""
    release = node.release
    every = {
        "coredns": f"registry.k8s.io/coredns/coredns:{release.coredns}",
        "metrics-server": f"registry.k8s.io/metrics-server/metrics-server:{release.metrics_server}",
        "headlamp": f"ghcr.io/headlamp-k8s/headlamp:{release.headlamp}",
    }
    return {name: node.image(every[name]) for name in node.settings.addons}


def manifest(node: Node) -> str:
    """All objects of ours as YAML, each with the label of its addon."""
    values = {"dns_domain": node.settings.dns_domain, "dns_server_ip": node.settings.dns_server_ip}
    documents = []
    for addon, image in {"cluster": "", **images(node)}.items():
        text = render(f"addons/{addon}.yaml.j2", image=image, **values)
        for document in yaml.safe_load_all(text):
            document["metadata"].setdefault("labels", {})[ADDON] = addon
            documents.append(yaml.safe_dump(document, sort_keys=False))
    return "---\n".join(documents)


def apply(node: Node) -> None:
    """Apply them on the first master."""
    if not node.is_first_master:
        return
    objects(
        name="Apply addons",
        manifest=manifest(node),
        addons=("cluster", *node.settings.addons),
    )


def remove(node: Node) -> None:
    """They live in etcd: they go with its data, and come back with it."""
