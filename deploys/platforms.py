"""Arch and init system → what they select; no pyinfra in here.

Another init system needs a row here, and what facts, phases and turndown say to systemd: its units and drop-ins.
"""

from __future__ import annotations

from dataclasses import dataclass

ARCHES: dict[str, str] = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "ppc64le": "ppc64le",
}
"""``uname -m`` → the name that Docker, Go and Kubernetes use."""

NARROWER: frozenset[tuple[str, str]] = frozenset({("arm64", "arm"), ("amd64", "386")})
"""A machine's arch, and that of a 32-bit system on its kernel (Raspberry Pi OS), which Docker and its images have."""

REFUSED_ARCHES: dict[str, str] = {
    "i386": "32-bit x86 has had no Kubernetes server binaries since v1.3",
    "i686": "32-bit x86 has had no Kubernetes server binaries since v1.3",
    "ppc64": "big-endian POWER has no Kubernetes binaries; install a ppc64le system",
    "s390x": "s390x is not built here yet",
    "riscv64": "riscv64 is not built here yet",
}
"""What a refused machine is called, and why."""


@dataclass(frozen=True)
class RestartStrategy:
    """How a daemon is installed, started and restarted under one init system.

    Every command is a shell template of one ``{unit}``.

    :param active: succeeds where ``{unit}`` runs.
    :param start_once: starts the main Docker with one more flag, for this one time; ``{command}``, ``{flag}``,
        each one word of the shell.
    :param once: path of the file by which it does that; an ended run may have left it.
    :param needing: prints the running units that end when ``{unit}`` is stopped, and do not start with it.
    """

    init: str
    reload: str
    start: str
    stop: str
    restart: str
    enable: str
    disable: str
    active: str
    state: str
    start_once: str
    once: str
    needing: str


_ONCE = "/run/systemd/system/docker.service.d/zzz-once.conf"

RESTART_STRATEGIES: dict[str, RestartStrategy] = {
    "systemd": RestartStrategy(
        init="systemd",
        reload="systemctl daemon-reload",
        # a unit that was restarted often in a short time is refused otherwise
        start="(systemctl reset-failed {unit} 2>/dev/null; systemctl start {unit})",
        stop="systemctl stop {unit}",
        restart="(systemctl reset-failed {unit} 2>/dev/null; systemctl restart {unit})",
        enable="systemctl enable --quiet {unit}",
        disable="systemctl disable --quiet {unit}",
        active="systemctl is-active --quiet {unit}",
        state="systemctl is-active {unit}; "
        "journalctl -u {unit} -n 60 --no-pager -o cat | grep -v level=info | tail -n 20",
        start_once=(
            f"d={_ONCE.rpartition('/')[0]}; mkdir -p $d; "
            f"printf '[Service]\\nExecStart=\\nExecStart=%s %s\\n' {{command}} {{flag}} > {_ONCE}; "
            "systemctl daemon-reload; systemctl reset-failed docker; systemctl start docker; rc=$?; "
            f"rm -f {_ONCE}; rmdir $d 2>/dev/null; systemctl daemon-reload; [ $rc = 0 ]"
        ),
        once=_ONCE,
        needing=(
            "for u in $(systemctl show {unit}.service -p RequiredBy -p BoundBy -p ConsistsOf --value); do "
            "! systemctl is-active --quiet $u || echo $u; done"
        ),
    ),
}

KNOWN_INITS: dict[str, str] = {
    "openrc": "OpenRC",
    "sysvinit": "sysvinit",
    "upstart": "upstart",
    "unknown": "this init system",
}
"""Init systems that are recognised and refused until their row exists."""
