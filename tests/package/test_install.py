"""The three ways that it works: from the checkout, as an editable install, as a wheel in an empty directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.unit import machines

ROOT = Path(__file__).parents[2]
PYINFRA = "from pyinfra_cli.main import main; main()"

# a host behind pyinfra's @fake connector, told by the unit tests' samples; no file of the checkout is imported here
INVENTORY = """
import json, pathlib
answers = json.loads(pathlib.Path({answers!r}).read_text())
masters = [("@fake/m1", answers)]
"""

DEPLOY = """
from docker_multinode import {name}

{name}()
"""


def run(words: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without this checkout on its path."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MASTER_IP")}
    return subprocess.run(
        words,
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        env={**env, **environment},
    )


def pyinfra(cwd: Path, python: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the pyinfra command."""
    return run([python, "-c", PYINFRA, *words], cwd, **environment)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake host answers, as a file."""
    place = tmp_path_factory.mktemp("answers") / "answers.json"
    place.write_text(json.dumps(machines.fake(machines.answer("m1", "10.0.0.11"))))
    return place


@pytest.fixture
def user(tmp_path: Path, answers: Path) -> Path:
    """A user's own empty directory, with an inventory and a deploy file of his."""
    (tmp_path / "inventory.py").write_text(INVENTORY.format(answers=str(answers)))
    (tmp_path / "deploy.py").write_text(DEPLOY.format(name="master"))
    return tmp_path


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout: building and installing leave nothing in the checkout itself."""
    place = tmp_path_factory.mktemp("copy")
    ours = ("deploys", "templates", "group_data", "inventory.py", "pyproject.toml", "README.md", "LICENSE")
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *ours], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes((ROOT / name).read_bytes())
    return place


@pytest.fixture(scope="module")
def wheel(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    place = tmp_path_factory.mktemp("wheel")
    built = run([sys.executable, "-m", "build", "--wheel", "--outdir", str(place), str(copy)], place)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = place.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel was installed to; what it depends on is this Python's."""
    target = tmp_path_factory.mktemp("installed")
    ran = run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)], target)
    assert ran.returncode == 0, ran.stderr
    return target


@pytest.fixture(scope="module")
def editable(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a venv with an editable install."""
    place = tmp_path_factory.mktemp("venv")
    made = run([sys.executable, "-m", "venv", "--system-site-packages", str(place)], place)
    assert made.returncode == 0, made.stderr
    python = str(place / "bin/python")
    site = next((place / "lib").glob("python*/site-packages"))
    # this Python may be a venv itself, whose packages --system-site-packages does not reach
    (site / "outer.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")) + "\n")
    ran = run([python, "-m", "pip", "install", "-q", "--no-deps", "-e", str(copy)], place)
    assert ran.returncode == 0, ran.stderr
    return python


def planned(ran: subprocess.CompletedProcess[str]) -> None:
    """The plan of a whole master was made, templates included."""
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "Traceback" not in said
    assert "Will create /etc/kubernetes/manifests/kube-apiserver.yaml" in said
    assert "Will create /etc/systemd/system/docker-bootstrap.service" in said
    assert "Will build image docker-multinode/node" in said
    assert "kind: ClusterRoleBinding" in said


PLAN = ("--dry", "--diff")


def test_it_works_from_the_checkout(user: Path) -> None:
    planned(pyinfra(ROOT, sys.executable, str(user / "inventory.py"), "deploys/master.py", *PLAN))


def test_an_editable_install_works_in_an_empty_directory(user: Path, editable: str) -> None:
    planned(pyinfra(user, editable, "inventory.py", "deploy.py", *PLAN))


def test_an_editable_install_works_in_its_checkout(user: Path, copy: Path, editable: str) -> None:
    planned(pyinfra(copy, editable, str(user / "inventory.py"), "deploys/master.py", *PLAN))


def test_a_wheel_works_in_an_empty_directory(user: Path, installed: Path) -> None:
    planned(pyinfra(user, sys.executable, "inventory.py", "deploy.py", *PLAN, PYTHONPATH=str(installed)))


@pytest.mark.parametrize("name", ["worker", "cluster", "turndown"])
def test_every_deploy_can_be_imported_from_a_wheel(user: Path, installed: Path, name: str) -> None:
    (user / "deploy.py").write_text(DEPLOY.format(name=name))
    ran = pyinfra(user, sys.executable, "inventory.py", "deploy.py", "--dry", PYTHONPATH=str(installed))
    said = ran.stdout + ran.stderr
    if name == "worker":  # the inventory has none, and says so
        assert "no group `workers`" in said
    else:
        assert ran.returncode == 0, said


def test_a_deploy_can_be_named_without_a_deploy_file(user: Path, installed: Path) -> None:
    ran = pyinfra(
        user, sys.executable, "inventory.py", "docker_multinode.roles.master", *PLAN, PYTHONPATH=str(installed)
    )
    assert ran.returncode == 0, ran.stderr
    assert "Will create /etc/kubernetes/manifests/kube-apiserver.yaml" in ran.stderr


def test_operations_come_in_the_order_of_the_phases_from_a_wheel_too(user: Path, installed: Path) -> None:
    ran = pyinfra(user, sys.executable, "inventory.py", "deploy.py", "--dry", PYTHONPATH=str(installed))
    said = ran.stderr
    places = [said.index(name) for name in ("Make authorities", "Run the bootstrap daemon", "Run etcd", "Run flannel",
                                            "Run the main Docker", "Run kubelet", "Apply addons")]  # fmt: skip
    assert places == sorted(places)


def test_importing_the_package_runs_no_entry_file(installed: Path, tmp_path: Path) -> None:
    probe = "import docker_multinode, sys; print(sorted(n for n in sys.modules if n.startswith('docker_multinode.')))"
    ran = run([sys.executable, "-c", probe], tmp_path, PYTHONPATH=str(installed))
    assert ran.returncode == 0, ran.stderr
    entries = [p.stem for p in (ROOT / "deploys").glob("*.py") if "__import__(here.name)" in p.read_text()]
    assert {"master", "worker", "cluster", "turndown", "kubeconfig"} <= set(entries)
    for entry in entries:
        assert f"'docker_multinode.{entry}'" not in ran.stdout


def test_the_wheel_holds_every_module_every_template_and_no_test(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(p.relative_to(ROOT / "deploys")) for p in (ROOT / "deploys").rglob("*.py")}
    templates = {str(p.relative_to(ROOT / "templates")) for p in (ROOT / "templates").rglob("*.j2")}
    assert {f"docker_multinode/{m}" for m in modules} <= names
    assert {f"docker_multinode/templates/{t}" for t in templates} <= names
    assert "docker_multinode/py.typed" in names
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == {"docker_multinode"}
