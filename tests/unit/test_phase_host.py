"""The host: what is written for the next boot."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest

from deploys.facts.kernel import BOOT_SYSCTLS
from deploys.facts.platform import Platform
from deploys.phases import host
from deploys.record import MODULES_FILE, OWN_PLACES

from .harness import World
from .test_scripts import program, sh


def test_sysctls_are_set_at_boot_after_those_of_etc_sysctl_conf() -> None:
    written = {file.path: file.content for file in host._files(World().node())}
    (path,) = (path for path in written if path.startswith("/etc/sysctl.d/"))
    assert PurePath(path).name > "99-sysctl.conf"
    assert all(f"{key} = {value}\n" in written[path] for key, value in BOOT_SYSCTLS.items())
    assert path in OWN_PLACES


@pytest.mark.parametrize(("backend", "needed"), [("vxlan", True), ("host-gw", False)])
def test_vxlan_is_loaded_only_where_flannel_makes_a_device_of_it(backend: str, needed: bool) -> None:
    node = World(data={"flannel_backend": backend}).node()
    (written,) = (file.content for file in host._files(node) if file.path == MODULES_FILE)
    assert host.modules(node) == ("br_netfilter", *["vxlan"] * needed)
    assert ("vxlan\n" in written) is needed


@pytest.mark.parametrize(
    ("files", "loaded", "on_disk", "missing"),
    [
        (True, (), "", {"br_netfilter", "vxlan"}),
        (True, (), "br_netfilter", {"vxlan"}),
        (True, ("vxlan",), "br_netfilter", set()),
        (False, (), "", set()),
    ],
    ids=["a kernel without", "a package is missing", "loaded or built in", "a container without the kernel's files"],
)
def test_a_module_is_missing_where_it_is_neither_in_the_kernel_nor_on_the_disk(
    files: bool, loaded: tuple[str, ...], on_disk: str, missing: set[str], tmp_path: Path
) -> None:
    program(tmp_path / "bin", "modprobe", f'[ "$1" = -nq ] && [ "$2" = "{on_disk}" ]')
    for path in (*(f"sys/{m}" for m in loaded), *[f"lib/{os.uname().release}"] * files):
        (tmp_path / path).mkdir(parents=True)
    script = Platform().command().get_raw_value()
    here = script.replace("/lib/modules/", f"{tmp_path}/lib/").replace("/sys/module/", f"{tmp_path}/sys/")
    here = here.replace("/proc/sys/net/bridge/", f"{tmp_path}/bridge/")
    found = Platform().process(sh(here, path=str(tmp_path / "bin")).stdout.splitlines())
    assert found.missing_modules == missing
    assert not found.modules_gone


@pytest.mark.parametrize(
    ("kernels", "built_in", "missing", "gone"),
    [
        (("5.0.0-upgraded",), (), {"br_netfilter", "vxlan"}, True),
        (("5.0.0-upgraded",), ("sys/vxlan", "bridge/bridge-nf-call-iptables"), set(), True),
        (("5.0.0-upgraded", os.uname().release), (), {"br_netfilter", "vxlan"}, False),
        ((), (), set(), False),
    ],
    ids=["upgraded and not rebooted", "a kernel of its own beside", "upgraded and still whole", "a container"],
)
def test_the_files_of_a_running_kernel_may_have_gone_with_an_upgrade(
    kernels: tuple[str, ...], built_in: tuple[str, ...], missing: set[str], gone: bool, tmp_path: Path
) -> None:
    program(tmp_path / "bin", "modprobe", "exit 1")
    (tmp_path / "lib").mkdir()
    for path in (*built_in, *(f"lib/{kernel}" for kernel in kernels)):
        (tmp_path / path).mkdir(parents=True)
    here = Platform().command().get_raw_value().replace("/proc/sys/net/bridge/", f"{tmp_path}/bridge/")
    here = here.replace("/lib/modules/", f"{tmp_path}/lib/").replace("/sys/module/", f"{tmp_path}/sys/")
    found = Platform().process(sh(here, path=str(tmp_path / "bin")).stdout.splitlines())
    assert found.missing_modules == missing
    assert found.modules_gone is gone
