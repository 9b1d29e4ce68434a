"""The images of the hosts: Debian 13 with systemd, sshd and a Docker of one version or another."""

from __future__ import annotations

import json

from . import layers
from .archive import File
from .images import Image, Run, assemble
from .paths import HERE, REGISTRY

COMMON = """
apt-get update -q
apt-get install -yq systemd systemd-sysv dbus openssh-server sudo iproute2 iptables
apt-get install -yq curl procps kmod iputils-ping
useradd --create-home --shell /bin/bash lab
rm -f /etc/ssh/ssh_host_* /etc/machine-id
: > /etc/machine-id
systemctl mask -q getty.target console-getty.service systemd-resolved.service systemd-timesyncd.service
"""

DOCKER = {
    "26": ("apt-get update -q\napt-get install -yq docker.io docker-cli\n", ("trixie", "trixie-updates")),
    # forky's own systemd refuses cgroup v1: only Docker and the libraries it needs come from there
    "28": (
        "apt-mark hold -q systemd systemd-sysv\napt-get update -q\n"
        "apt-get install -yq -t forky docker.io docker-cli\napt-mark unhold -q systemd systemd-sysv\n",
        ("trixie", "trixie-updates", "forky"),
    ),
}
"""The Docker versions that a host can have: the major version → how it is installed, from which suites."""

DAEMON_JSON = {
    "default-runtime": "lab",
    "runtimes": {"lab": {"path": "/usr/local/sbin/runc-lab"}},
    "storage-driver": "overlay2",
    "insecure-registries": [REGISTRY],
}

SHARED = """\
[Unit]
Description=Mounts are shared, as systemd makes them on a machine and not in a container
DefaultDependencies=no
Before=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --make-rshared /

[Install]
WantedBy=sysinit.target
"""

SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
MaxSessions 100
MaxStartups 100:30:200
PermitRootLogin prohibit-password
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/lab_keys
PasswordAuthentication no
"""

FILES = {
    "/usr/local/sbin/runc-lab": File(HERE / "runc-lab", mode=0o755),
    "/etc/docker/daemon.json": File(json.dumps(DAEMON_JSON, indent=2) + "\n"),
    "/etc/systemd/system/lab-shared.service": File(SHARED),
    "/etc/systemd/system/sysinit.target.wants/lab-shared.service": File(link="../lab-shared.service"),
    "/etc/ssh/sshd_config.d/lab.conf": File(SSHD),
    "/etc/sudoers.d/lab": File("lab ALL=(ALL) NOPASSWD: ALL\n", mode=0o440),
}

NAME = "dm-lab/host"


def host_image(docker: str) -> Image:
    """The image of a host with this Docker (26 or 28); made where it is missing."""
    base = layers.debian()
    common = layers.script("host", [base], COMMON)
    install, suites = DOCKER[docker]
    engine = layers.script(f"host-docker-{docker}", [base, common], install, suites)
    return assemble(
        [base, common, engine, layers.files("host-files", FILES)],
        Run(command=("/sbin/init",), stop_signal="SIGRTMIN+3", env=("container=docker",)),
    )
