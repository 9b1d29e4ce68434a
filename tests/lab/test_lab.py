"""The lab's own parts that can be tested without a lab: no root, no network, seconds."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import archive, inventory, paths, processes, programs, store, upstream
from tests.lab.archive import File
from tests.lab.shell import LabError, Result, run


def test_a_host_has_a_fixed_address() -> None:
    assert paths.host_address("n1") == "10.89.0.11"
    assert paths.host_address("n12") == "10.89.0.22"


@pytest.mark.parametrize("name", ["n0", "n100", "m1", "n", "n-1"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n1 … n99"):
        paths.host_address(name)


def test_a_half_done_build_never_looks_like_a_done_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CACHE", tmp_path)

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise LabError("no")

    with pytest.raises(LabError):
        store.keep("kind", "name", "1", fail)
    assert list((tmp_path / "kind").iterdir()) == []
    assert store.keep("kind", "name", "1", lambda directory: (directory / "all").touch()).name == "name-1"
    assert store.keep("kind", "name", "1", fail) == tmp_path / "kind/name-1"


def test_what_a_killed_build_left_goes_away_and_a_running_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CACHE", tmp_path)
    dead, live = tmp_path / "kind/.x.999999999.tmp", tmp_path / "kind/.x.1.tmp"
    dead.mkdir(parents=True)
    live.mkdir()
    store.keep("kind", "name", "1", lambda directory: None)
    assert not dead.exists()
    assert live.exists()


def test_a_layer_of_files_has_the_digests_a_registry_wants(tmp_path: Path) -> None:
    archive.pack_files(tmp_path, {"/bin/a": File("x", mode=0o755), "/bin/b": File(link="a")})
    meta = json.loads((tmp_path / "layer.json").read_text())
    blob = (tmp_path / "layer.tar.gz").read_bytes()
    assert meta["digest"] == "sha256:" + hashlib.sha256(blob).hexdigest()
    assert meta["size"] == len(blob)
    with tarfile.open(tmp_path / "layer.tar.gz") as tar:
        assert [(member.name, member.linkname) for member in tar] == [("bin/a", ""), ("bin/b", "a")]


@pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")
def test_what_an_overlay_removed_becomes_a_whiteout(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    os.mknod(root / "etc/gone", 0o020000, os.makedev(0, 0))
    (root / "run/left").mkdir(parents=True)
    archive.pack_tree(tmp_path, root)
    with tarfile.open(tmp_path / "layer.tar.gz") as tar:
        assert tar.getnames() == ["etc", "run", "etc/.wh.gone"]


def test_a_record_of_another_process_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PIDS", tmp_path / "pids")
    monkeypatch.setattr(processes, "LOGS", tmp_path / "logs")
    processes.start("sleeper", ["sleep", "60"])
    assert processes.alive("sleeper")
    record = tmp_path / "pids/sleeper"
    kept = record.read_text()
    record.write_text(json.dumps({**json.loads(kept), "started": "1"}))
    assert not processes.alive("sleeper")
    record.write_text(kept)
    processes.stop("sleeper")
    assert not processes.alive("sleeper")
    assert not record.exists()


def test_an_inventory_has_the_groups_and_sudo_for_lab(tmp_path: Path) -> None:
    path = inventory.write(tmp_path / "inventory.py", ["n1"], ["n2"], {"n2": "lab"})
    names: dict[str, list[tuple[str, dict[str, object]]]] = {}
    exec(path.read_text(), names)
    assert names["masters"][0][1]["ssh_user"] == "root"
    assert names["workers"][0][1] == {
        **names["masters"][0][1],
        "ssh_hostname": "10.89.0.12",
        "ssh_user": "lab",
        "_sudo": True,
    }


def test_a_go_module_takes_upstreams_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    upstreams = {
        "Go": "1.26.0",
        "Require": [{"Path": "a", "Version": "v1.0.0"}, {"Path": "k8s.io/api", "Version": "v0.0.0"}],
        "Replace": [
            {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
            {"Old": {"Path": "b"}, "New": {"Path": "c", "Version": "v2.0.0"}},
        ],
    }

    def answer(*command: str | Path, **_: object) -> Result:
        text = '{"GoMod": "/somewhere"}' if command[1:3] == ("mod", "download") else json.dumps(upstreams)
        return Result(command, 0, text, "")

    monkeypatch.setattr(programs, "run", answer)
    build = programs.GoBuild("x", "k8s.io/kubernetes", "v1.37.2", {}, staging="v0.37.2")
    assert build._go_mod().splitlines() == [
        "module docker-multinode.example/x",
        "go 1.26.0",
        "require k8s.io/kubernetes v1.37.2",
        "require a v1.0.0",
        "require k8s.io/api v0.37.2",
        "replace k8s.io/api => k8s.io/api v0.37.2",
        "replace b => c v2.0.0",
    ]


def test_an_error_tells_what_the_command_said() -> None:
    with pytest.raises(LabError, match=r"exit code 3: sh -c .*\nso it is"):
        run("sh", "-c", "echo so it is; exit 3")


# ---- pulling, from a registry that asks for a token and has an index of several architectures


def _sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Registry(http.server.BaseHTTPRequestHandler):
    config, layer = b"{}", b"layer"
    manifest = json.dumps(
        {"mediaType": "m", "config": {"digest": _sha(config)}, "layers": [{"digest": _sha(layer)}]}
    ).encode()
    index = json.dumps(
        {
            "manifests": [
                {"digest": "sha256:other", "platform": {"architecture": "arm64"}},
                {"digest": _sha(manifest), "platform": {"architecture": "amd64"}},
            ]
        }
    ).encode()

    def do_GET(self) -> None:
        here = f"http://{self.headers['Host']}"
        content = {
            "/token?service=s&scope=pull": b'{"token": "secret"}',
            "/v2/x/manifests/1": self.index,
            f"/v2/x/manifests/{_sha(self.manifest)}": self.manifest,
            f"/v2/x/blobs/{_sha(self.config)}": self.config,
            f"/v2/x/blobs/{_sha(self.layer)}": self.layer,
        }
        known = self.path.startswith("/token") or self.headers["Authorization"] == "Bearer secret"
        self.send_response(200 if known else 401)
        self.send_header("WWW-Authenticate", f'Bearer realm="{here}/token",service="s",scope="pull"')
        self.end_headers()
        self.wfile.write(content[self.path] if known else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_image_is_pulled_with_its_token_and_for_this_architecture(registry: str, tmp_path: Path) -> None:
    upstream._Puller(f"{registry}/v2/x").into(tmp_path, "1")
    assert (tmp_path / "manifest.json").read_bytes() == _Registry.manifest
    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (tmp_path / "blobs").iterdir()}
    assert blobs == {_sha(b"{}"): b"{}", _sha(b"layer"): b"layer"}


def test_nobody_is_reached_where_nobody_listens() -> None:
    assert not upstream.reachable("http://127.0.0.1:9/v2/")
