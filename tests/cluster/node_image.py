"""The ready-made node image: built once on a host, then kept in the lab's registry."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

from tests.lab.hosts import Host
from tests.lab.paths import REGISTRY

from .product import Run

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def of_plan(plan: Run) -> str:
    """The reference that the product gives the image which it would build."""
    found = re.search(r"Will build image (\S+) ", plan.stderr)
    assert found, f"the plan builds no node image\n{plan.tail()}"
    return found.group(1)


def in_registry(image: str) -> str:
    """Its reference in the lab's registry; one that is of it already stays."""
    return image if image.startswith(f"{REGISTRY}/") else f"{REGISTRY}/{image}"


def is_published(image: str) -> bool:
    """Whether the lab's registry has it."""
    name, _, tag = image.rpartition(":")
    url = f"http://{REGISTRY}/v2/{name}/manifests/{tag}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": _MANIFEST})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def publish(host: Host, image: str) -> None:
    """Push what a host built to the lab's registry; the host forgets that name again."""
    there = in_registry(image)
    host.run(f"docker tag {image} {there} && docker push -q {there} && docker rmi {there} >/dev/null")
