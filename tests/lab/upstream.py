"""Images and binaries as upstream publishes them, where that can be reached."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import cast

from . import store
from .images import MANIFEST, Image
from .paths import CACHE
from .shell import progress, say

_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ACCEPT = ", ".join((*_INDEXES, _OCI_MANIFEST, MANIFEST))
_API_HOSTS = {"docker.io": "registry-1.docker.io"}


def pulled(ref: str) -> Image | None:
    """The image that was pulled from upstream at some time."""
    directory = CACHE / "upstream" / _folder(ref)
    if not directory.is_dir():
        return None
    manifest = (directory / "manifest.json").read_bytes()
    blobs: dict[str, bytes | Path] = {f"sha256:{path.name}": path for path in (directory / "blobs").iterdir()}
    return Image(manifest, blobs, str(json.loads(manifest).get("mediaType", _OCI_MANIFEST)))


def pull(ref: str) -> bool:
    """Fetch an image into the cache; False where that cannot be done."""
    registry, _, path = ref.partition("/")
    host = _API_HOSTS.get(registry, registry)
    if not reachable(f"https://{host}/v2/"):
        return False
    name, tag = path.rsplit(":", 1)

    def make(directory: Path) -> None:
        with progress(f"pull {ref}"):
            _Puller(f"https://{host}/v2/{name}").into(directory, tag)

    title, _, recipe = _folder(ref).rpartition("-")
    return _kept("upstream", title, recipe, make) is not None


def fetch(url: str) -> Path | None:
    """Fetch a file and check it against the checksum beside it; None where that cannot be done."""
    parts = urllib.parse.urlsplit(url)
    if not reachable(f"{parts.scheme}://{parts.netloc}/"):
        return None
    name = parts.path.rpartition("/")[2]

    def make(directory: Path) -> None:
        with progress(f"fetch {url}"):
            with urllib.request.urlopen(url, timeout=60) as answer, (directory / name).open("wb") as out:
                shutil.copyfileobj(answer, out)
            _check_sum(url, directory / name)

    kept = _kept("fetched", name, store.key(url), make)
    return kept / name if kept else None


def _kept(kind: str, title: str, recipe: str, make: Callable[[Path], None]) -> Path | None:
    """The cached download; a failed one is told and not fatal: what upstream does not give is built."""
    try:
        return store.keep(kind, title, recipe, make)
    except OSError as error:
        say(f"upstream: {error}")
        return None


@functools.cache
def reachable(url: str) -> bool:
    """Whether a server answers there at all, within 3 seconds. Asked once a run."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=3).close()
    except urllib.error.HTTPError as answer:
        return answer.code in (200, 401, 404, 405)
    except OSError:
        return False
    return True


def _folder(ref: str) -> str:
    return f"{re.sub(r'[^a-z0-9.]+', '_', ref.lower())}-{store.key(ref)}"


def _check_sum(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(f"{url}.sha256", timeout=30) as answer:
            expected = answer.read().decode().split()[0]
    except urllib.error.HTTPError:
        return  # not every project publishes one
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != expected:
            raise OSError(f"{url} does not have its published checksum")


class _Puller:
    """Reads one repository of a registry, with an anonymous token where it asks for one."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.token = ""

    def into(self, directory: Path, tag: str) -> None:
        """Write manifest.json and the blobs of the amd64 image."""
        manifest = self._get(f"manifests/{tag}").read()
        listed = json.loads(manifest)
        if "manifests" in listed:
            ours = [row for row in listed["manifests"] if row.get("platform", {}).get("architecture") == "amd64"]
            manifest = self._get(f"manifests/{ours[0]['digest']}").read()
            listed = json.loads(manifest)
        (directory / "manifest.json").write_bytes(manifest)
        (directory / "blobs").mkdir()
        for blob in [listed["config"], *listed["layers"]]:
            self._blob(blob["digest"], directory / "blobs" / blob["digest"].partition(":")[2])

    def _blob(self, digest: str, path: Path) -> None:
        hashed = hashlib.sha256()
        with self._get(f"blobs/{digest}") as answer, path.open("wb") as out:
            while chunk := answer.read(1 << 20):
                hashed.update(chunk)
                out.write(chunk)
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise OSError(f"{self.base}: blob {digest} arrived damaged")

    def _get(self, what: str) -> HTTPResponse:
        request = urllib.request.Request(f"{self.base}/{what}", headers={"Accept": _ACCEPT})
        if self.token:
            # not followed to another host: blob stores refuse a registry's token
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            return cast(HTTPResponse, urllib.request.urlopen(request, timeout=60))
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != 401 or self.token or not challenge.startswith("Bearer"):
                raise
            self.token = _token(challenge)
            return self._get(what)


def _token(challenge: str) -> str:
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = fields.pop("realm")
    with urllib.request.urlopen(f"{realm}?{urllib.parse.urlencode(fields)}", timeout=30) as answer:
        said = json.load(answer)
    return str(said.get("token") or said["access_token"])
