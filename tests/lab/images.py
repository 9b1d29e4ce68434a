"""Images as a registry keeps them (manifest, configuration, layers), and how they get into the lab's."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .layers import Layer
from .paths import MACHINE_ADDRESS, REGISTRY_PORT
from .shell import LabError

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass(frozen=True)
class Image:
    """What a registry gets: the manifest, its media type, and a way to read every blob it names."""

    manifest: bytes
    blobs: Mapping[str, bytes | Path]
    media_type: str = MANIFEST

    @property
    def id(self) -> str:
        """What `docker image inspect` calls Id."""
        return str(json.loads(self.manifest)["config"]["digest"])


@dataclass(frozen=True)
class Run:
    """How an image's container starts."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def assemble(layers: list[Layer], how: Run) -> Image:
    """The image of these layers."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Env": list(how.env),
            **({"Entrypoint": list(how.entrypoint)} if how.entrypoint else {}),
            **({"Cmd": list(how.command)} if how.command else {}),
            **({"StopSignal": how.stop_signal} if how.stop_signal else {}),
            **({"Labels": dict(how.labels)} if how.labels else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": layer.directory.name} for layer in layers],
    }
    data = json.dumps(config, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": _CONFIG, "size": len(data), "digest": digest},
        "layers": [{"mediaType": _LAYER, "size": layer.size, "digest": layer.digest} for layer in layers],
    }
    blobs: dict[str, bytes | Path] = {layer.digest: layer.blob for layer in layers}
    return Image(json.dumps(manifest, sort_keys=True).encode(), {**blobs, digest: data})


def publish(name: str, tag: str, image: Image) -> bool:
    """Put an image into the lab's registry; False where it is there already."""
    digest = f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    status, headers = _ask("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": image.media_type})
    if status == 200 and headers("Docker-Content-Digest") == digest:
        return False
    for blob, data in image.blobs.items():
        if _ask("HEAD", f"/v2/{name}/blobs/{blob}")[0] != 200:
            _upload(name, blob, data)
    _ask("PUT", f"/v2/{name}/manifests/{tag}", image.manifest, {"Content-Type": image.media_type}, expect=201)
    return True


def _upload(name: str, digest: str, data: bytes | Path) -> None:
    _, headers = _ask("POST", f"/v2/{name}/blobs/uploads/", b"", expect=202)
    target = urlsplit(headers("Location") or "")
    url = f"{target.path}?{target.query}&digest={digest}"
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    kind = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    _ask("PUT", url, data, kind, expect=201)


def _ask(
    method: str,
    path: str,
    body: bytes | Path | None = None,
    headers: Mapping[str, str] | None = None,
    expect: int | None = None,
) -> tuple[int, Callable[[str], str | None]]:
    """One request to the lab's registry, straight, past any proxy of the environment."""
    connection = http.client.HTTPConnection(MACHINE_ADDRESS, REGISTRY_PORT, timeout=120)
    try:
        if isinstance(body, Path):
            with body.open("rb") as source:
                connection.request(method, path, source, dict(headers or {}))
                response = connection.getresponse()
        else:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
        said = response.read().decode(errors="replace")
    finally:
        connection.close()
    if expect is not None and response.status != expect:
        raise LabError(f"the lab's registry answered {response.status} to {method} {path}: {said[:300]}")
    return response.status, response.getheader
