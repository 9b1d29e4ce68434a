"""The host: what is written for the next boot."""

from __future__ import annotations

from pathlib import PurePath

from deploys.facts.kernel import BOOT_SYSCTLS
from deploys.phases import host
from deploys.record import OWN_PLACES

from .harness import World


def test_sysctls_are_set_at_boot_after_those_of_etc_sysctl_conf() -> None:
    written = {file.path: file.content for file in host._files(World().node())}
    (path,) = (path for path in written if path.startswith("/etc/sysctl.d/"))
    assert PurePath(path).name > "99-sysctl.conf"
    assert all(f"{key} = {value}\n" in written[path] for key, value in BOOT_SYSCTLS.items())
    assert path in OWN_PLACES
