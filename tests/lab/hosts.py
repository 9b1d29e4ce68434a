"""One host: a container of the outer Docker that is treated as a machine, over ssh."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import network, processes
from .host_images import NAME as IMAGE
from .paths import BRIDGE_ADDRESS, KNOWN_HOSTS, RUN, SSH_KEY, host_address
from .services import docker
from .shell import LabError, Result, run

VOLUMES = (
    "/var/lib/docker",
    "/var/lib/bootstrap-docker",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/etcd",
)
"""Where a nested Docker's overlay2 (or etcd's fsync) needs a real file system below."""

SSH_OPTIONS = (
    *("-F", "none", "-i", str(SSH_KEY), "-o", f"UserKnownHostsFile={KNOWN_HOSTS}"),
    *("-o", "GlobalKnownHostsFile=none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR", "-o", "StrictHostKeyChecking=yes"),
)


RUNC_RACE = "read init-p: connection reset by peer"
"""What `docker exec` may end with where two cores have much to do; its command was not started then."""


@dataclass(frozen=True)
class Host:
    """A host of the lab that exists; `hosts.make` makes one."""

    name: str
    docker: str

    @property
    def address(self) -> str:
        """Where it answers ssh."""
        return host_address(self.name)

    @property
    def container(self) -> str:
        """What the outer Docker calls it."""
        return f"dm-lab-{self.name}"

    def run(
        self,
        command: str,
        check: bool = True,
        user: str = "root",
        input: str | None = None,
        timeout: float | None = 600,
    ) -> Result:
        """Run a shell command on the host over ssh."""
        return run(*self.ssh(user), command, check=check, input=input, timeout=timeout, not_begun=RUNC_RACE)

    def ssh(self, user: str = "root") -> tuple[str, ...]:
        """The ssh command that reaches this host."""
        return ("ssh", *SSH_OPTIONS, f"{user}@{self.address}")

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Put a file on the host."""
        self.run(f"install -D -m {mode} /dev/stdin {shlex.quote(path)}", input=text)

    def read(self, path: str) -> str:
        """The content of a file of the host."""
        return self.run(f"cat {shlex.quote(path)}").stdout

    def reboot(self, patience: int = 90) -> None:
        """Shut down in order and come up again: /run is emptied, links and rules are gone, the disk stays."""
        docker("restart", "-t", str(patience), self.container)
        self.wait_up()

    def power_cut(self) -> None:
        """Every process dies at once; then the machine comes up again."""
        self.power_off()
        self.power_on()

    def power_off(self) -> None:
        """Every process dies at once, and the host stays away; no packet tells another host of it."""
        with self.unplugged():
            docker("kill", self.container)

    def power_on(self) -> None:
        """Bring a host that is off up again."""
        docker("start", self.container)
        self.wait_up()

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Within it the host is cut from the network. A host that was started meanwhile has a new cable."""
        pid = docker("inspect", "-f", "{{.State.Pid}}", self.container).stdout.strip()
        port = network.port_off(int(pid))
        try:
            yield
        finally:
            network.port_on(port)

    def wait_up(self, seconds: float = 90) -> None:
        """Wait until systemd answers over ssh, not until all is started: that may be what a test is about."""
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            result = self.run("systemctl is-system-running", check=False)
            said = (result.stdout + result.stderr).strip()
            if said in ("starting", "running", "degraded", "maintenance"):
                return
            time.sleep(0.1)
        logs = docker("logs", "--tail", "20", self.container, check=False)
        raise LabError(f"{self.name} did not come up in {seconds:.0f} s: {said}\n{logs.stdout}{logs.stderr}")

    def restart_ssh(self) -> None:
        """Let sshd read its configuration again. It listens when this ends; a reload ends before."""
        self.run("systemctl restart ssh")

    def wait_docker(self, seconds: float = 60) -> None:
        """Wait until the host's own Docker answers."""
        command = f"timeout {seconds:.0f} sh -c 'until docker version >/dev/null 2>&1; do sleep 0.1; done'"
        if self.run(command, check=False).returncode:
            log = self.run("journalctl -u docker -n 20", check=False).stdout
            raise LabError(f"{self.name}: Docker did not start\n{log}")

    def remove(self) -> None:
        """Throw the host away with its disks."""
        docker("rm", "-f", "-v", self.container)

    def shell(self, command: list[str], user: str = "root") -> int:
        """ssh with the caller's own terminal."""
        return subprocess.call([*self.ssh(user), *command])


def existing() -> dict[str, Host]:
    """The hosts that the outer Docker has, running or not; none while it does not run."""
    if not processes.alive("dockerd"):
        return {}
    form = '{{.Label "dm-lab.host"}} {{.Label "dm-lab.docker"}}'
    lines = docker("ps", "-a", "--filter", "label=dm-lab.host", "--format", form).stdout.split("\n")
    found = [Host(*line.split()) for line in lines if line]
    return {host.name: host for host in sorted(found, key=lambda host: int(host.name[1:]))}


def state(host: Host) -> str:
    """What the outer Docker says of the host: `running`, `exited`, or `created` where making it broke off."""
    return docker("inspect", "-f", "{{.State.Status}}", host.container).stdout.strip()


def make(name: str, version: str) -> Host:
    """A fresh host with this Docker, switched on; `wait_up` waits for it."""
    host = Host(name, version)
    folder = _identity(host)
    identity = {"--name": host.container, "--hostname": name, "--network": "dm-lab", "--ip": host.address}
    words = [word for pair in identity.items() for word in pair]
    words += ["--label", f"dm-lab.host={name}", "--label", f"dm-lab.docker={version}"]
    words += ["--privileged", "--cgroupns=private"]  # a shared one would give all hosts the same /kubepods
    words += ["--tmpfs", "/run:rw,nosuid,nodev,mode=755", "--tmpfs", "/tmp:rw,nosuid,nodev,exec,mode=1777"]
    words += ["--volume", f"{folder}/resolv.conf:/etc/resolv.conf"]
    words += [word for path in VOLUMES for word in ("--volume", path)]
    docker("create", *words, f"{IMAGE}:{version}")
    docker("cp", f"{folder}/seed/.", f"{host.container}:/")
    docker("start", host.container)
    return host


def _identity(host: Host) -> Path:
    """What is this host's alone and stays when it is made anew: ssh host key, machine id, resolv.conf."""
    folder = RUN / "hosts" / host.name
    etc = folder / "seed/etc"
    (etc / "ssh").mkdir(parents=True, exist_ok=True)
    key = etc / "ssh/ssh_host_ed25519_key"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", key)
    shutil.copyfile(f"{SSH_KEY}.pub", etc / "ssh/lab_keys")
    (etc / "machine-id").write_text(hashlib.md5(f"dm-lab {host.name}".encode()).hexdigest() + "\n")
    # A name server that refuses at once: nothing listens there, and CoreDNS has something to forward to.
    (folder / "resolv.conf").write_text(f"nameserver {BRIDGE_ADDRESS}\noptions timeout:1 attempts:1\n")
    known = KNOWN_HOSTS.read_text().splitlines() if KNOWN_HOSTS.exists() else []
    public = Path(f"{key}.pub").read_text().split()
    line = f"{host.address} {public[0]} {public[1]}"
    others = [old for old in known if old.split()[0] != host.address]
    KNOWN_HOSTS.write_text("\n".join([*others, line]) + "\n")
    return folder


def must_exist(name: str) -> Host:
    """The host of this name, or a sentence that says which there are."""
    there = existing()
    if name not in there:
        raise LabError(f"there is no host {name}; running are: {', '.join(there) or 'none'}")
    return there[name]
