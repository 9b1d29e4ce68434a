"""The kubeconfig on the control machine: for its owner only, never over a file of someone else."""

from __future__ import annotations

import base64
import stat
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from pyinfra.api import DeployError

import deploys
from deploys import x509
from deploys.facts.files import HostFiles
from deploys.operations import kubeconfig as module
from deploys.operations.files import File
from deploys.operations.kubeconfig import kubeconfig_fetched
from deploys.record import PKI
from deploys.x509 import Certificate

from .harness import Calls, Fails, World
from .known import host_files

CA = x509.new_authority("kubernetes")
ADMIN = x509.issue(Certificate(f"{PKI}/admin", f"{PKI}/ca", "kubernetes-admin"), CA, 1)
FILES = host_files(File(f"{PKI}/ca.crt", CA.certificate), File(f"{PKI}/admin.crt", ADMIN.certificate))
SERVER = "https://10.0.0.11:6443"


def fetch(place: Path, server: str = SERVER, *, write: bool = True) -> list[object]:
    """Run the operation, and what it calls."""
    here = World(facts={HostFiles: FILES})
    steps = here.run(kubeconfig_fetched, path=str(place), server=server)
    if write:
        for step in steps:
            if isinstance(step, Calls):
                with patch.object(module, "pem", return_value=ADMIN.key), here.on() as host:
                    assert module._write(here.state, host, *step.arguments)
    return [*steps]


def test_it_is_written_for_its_owner_alone_and_then_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "config"
    assert len(fetch(place)) == 1
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    config = yaml.safe_load(place.read_text())
    assert config["clusters"][0]["cluster"]["server"] == SERVER
    user = config["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]).decode().strip() == ADMIN.key.strip()
    assert base64.b64decode(user["client-certificate-data"]).decode() == ADMIN.certificate
    assert [p.name for p in tmp_path.iterdir()] == ["config"]
    assert fetch(place) == []


def test_the_plan_reads_no_key_and_writes_nothing(tmp_path: Path) -> None:
    here = World(facts={HostFiles: FILES})
    with patch.object(module, "pem", side_effect=AssertionError("a key was read for a plan")):
        said = here.says(kubeconfig_fetched, path=str(tmp_path / "c"), server=SERVER)
    assert "Will write" in said
    assert "it is not there" in said
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_someone_else_is_never_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "config"
    other = x509.new_authority("kubernetes").certificate
    theirs = [{"cluster": {"certificate-authority-data": base64.b64encode(other.encode()).decode()}}]
    for text in ("", "hello", ": : {", "[]", yaml.safe_dump({"clusters": theirs}), "\x00\xff"):
        place.write_text(text)
        (step,) = fetch(place)
        assert isinstance(step, Fails)
        assert "set kubeconfig_path to another place" in step.reason
        assert place.read_text() == text
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory").mkdir()
    for name in ("link", "directory"):
        (step,) = fetch(tmp_path / name)
        assert isinstance(step, Fails)


@pytest.mark.parametrize("kind", ["clusters", "contexts", "users"])
def test_a_kubeconfig_into_which_another_cluster_was_merged_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "config"
    fetch(place)
    merged = yaml.safe_load(place.read_text())
    merged[kind].append({"name": "theirs"})
    place.write_text(yaml.safe_dump(merged))
    (step,) = fetch(place, "https://other:6443")
    assert isinstance(step, Fails)
    assert "theirs" in place.read_text()


def test_another_server_a_renewed_certificate_or_a_loose_mode_is_written_again(tmp_path: Path) -> None:
    place = tmp_path / "config"
    fetch(place)
    here = World(facts={HostFiles: FILES})
    assert "it names the server" in here.says(kubeconfig_fetched, path=str(place), server="https://other:6443")
    place.chmod(0o644)
    assert "others can read it" in here.says(kubeconfig_fetched, path=str(place), server=SERVER)
    renewed = x509.issue(Certificate(f"{PKI}/admin", f"{PKI}/ca", "kubernetes-admin"), CA, 1)
    new = host_files(File(f"{PKI}/ca.crt", CA.certificate), File(f"{PKI}/admin.crt", renewed.certificate))
    said = World(facts={HostFiles: new}).says(kubeconfig_fetched, path=str(place), server=SERVER)
    assert "its certificate has been renewed" in said


def test_before_the_master_is_up_there_is_nothing_to_fetch(tmp_path: Path) -> None:
    here = World(facts={HostFiles: host_files()})
    (step,) = here.run(kubeconfig_fetched, path=str(tmp_path / "c"), server=SERVER)
    assert isinstance(step, Fails)
    assert "run deploys/master.py first" in step.reason


def test_a_place_that_can_not_be_written_fails_this_host_only(tmp_path: Path) -> None:
    here = World(facts={HostFiles: FILES})
    (step,) = here.run(kubeconfig_fetched, path=str(tmp_path / "no/such/directory/c"), server=SERVER)
    assert isinstance(step, Fails)
    assert "no/such/directory is no directory of this machine" in step.reason


def test_a_part_that_can_not_be_put_in_place_is_removed_with_its_key(tmp_path: Path) -> None:
    here = World(facts={HostFiles: FILES})
    (step,) = here.run(kubeconfig_fetched, path=str(tmp_path / "config"), server=SERVER)
    assert isinstance(step, Calls)
    full = OSError(28, "No space left on device")
    with (
        patch.object(module, "pem", return_value=ADMIN.key),
        patch.object(Path, "replace", side_effect=full),
        here.on() as host,
    ):
        assert module._write(here.state, host, *step.arguments) is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sans", "refused"), [(("10.0.0.11", "k8s.lan"), False), (("10.0.0.11",), True), (None, False)]
)
def test_a_name_that_the_certificate_has_not_yet_got_is_refused(sans: tuple[str, ...] | None, refused: bool) -> None:
    wanted = Certificate(f"{PKI}/apiserver", f"{PKI}/ca", "kube-apiserver", (), sans or (), ("server",))
    served = [File(f"{PKI}/apiserver.crt", x509.issue(wanted, CA, 1).certificate)] if sans else []
    files = host_files(File(f"{PKI}/ca.crt", CA.certificate), File(f"{PKI}/admin.crt", ADMIN.certificate), *served)
    here = World(data={"kubeconfig_server": "k8s.lan", "apiserver_cert_sans": ["k8s.lan"]}, facts={HostFiles: files})
    raises = pytest.raises(DeployError, match=r"k8s\.lan is not in the apiserver's certificate yet")
    with here.on(), raises if refused else nullcontext():
        deploys.kubeconfig()
