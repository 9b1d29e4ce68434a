"""The lab as one thing: what tests and the command line use."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import host_images, hosts, images, inventory, machine, processes, services, supply
from .hosts import Host
from .paths import APT_PROXY, BINARIES_URL, CHECKOUT, REGISTRY, RUN, SSH_KEY
from .shell import LabError, run, say

_LOCKS = Path("/run/lock")
_OWNER = RUN / "checkout"
_DOCKERD, _OTHER_DOCKERD = "/usr/sbin/dockerd", "/usr/local/sbin/other-dockerd"


class Lab:
    """The running lab. `Lab.up()` gives it, starting what does not run."""

    @classmethod
    def up(cls, build: bool = True) -> Lab:
        """Bring the services up and, unless told not to, make all that the catalogue lists."""
        machine.install_missing()
        with locked():
            _own()
            services.up()
            supply.publish_ready()
        if build:
            cls.build()
        return cls()

    @staticmethod
    def build() -> None:
        """Make what is missing of images and binaries, and publish it when the lab is up."""
        machine.install_missing()
        with locked("build"):
            for docker in host_images.DOCKER:
                host_images.host_image(docker)
            supply.prepare(publish=services.is_up() and _owner() in ("", str(CHECKOUT)))

    def hosts(self) -> dict[str, Host]:
        """The hosts that there are."""
        return hosts.existing()

    def host(self, name: str, docker: str | None = None, fresh: bool = False) -> Host:
        """A running host: the one that is there, unless it must be fresh or have another Docker."""
        with locked():
            there = hosts.existing().get(name)
            docker = docker or (there.docker if there else "26")
            if there and (fresh or there.docker != docker or hosts.state(there) == "created"):
                there.remove()
                there = None
            if there is None:
                return _fresh_host(name, docker)
            there.wait_up() if hosts.state(there) == "running" else there.power_on()
            return there

    @contextmanager
    def another_dockerd(self, host: Host) -> Iterator[str]:
        """Within it the host has the other version's dockerd in the place of its own, as a package would put it there;
        what runs goes on. Yields that version."""
        other = next(version for version in host_images.DOCKER if version != host.docker)
        with locked():
            _host_image_ready(other)
        donor = services.docker("create", f"{host_images.NAME}:{other}").stdout.strip()
        try:
            with tempfile.TemporaryDirectory() as place:
                services.docker("cp", f"{donor}:{_DOCKERD}", f"{place}/dockerd")
                services.docker("cp", f"{place}/dockerd", f"{host.container}:{_OTHER_DOCKERD}")
        finally:
            services.docker("rm", donor)
        host.run(f"mount --bind {_OTHER_DOCKERD} {_DOCKERD}")
        try:
            yield other
        finally:
            host.run(f"umount -l {_DOCKERD}; rm -f {_OTHER_DOCKERD}")

    def inventory(
        self,
        path: Path,
        masters: Iterable[str | Host],
        workers: Iterable[str | Host] = (),
        user: str | Mapping[str, str] = "root",
    ) -> Path:
        """Write a pyinfra inventory of these hosts; `user` is root, lab (with sudo), or one per host."""
        return inventory.write(path, masters, workers, user)

    def down(self) -> None:
        """Stop what this lab started; the caches stay."""
        down()


def down(force: bool = False) -> None:
    """Stop the lab of this checkout (with `force`: whosever it is)."""
    with locked():
        if not force:
            _refuse_foreign()
        services.down()
        shutil.rmtree(RUN, ignore_errors=True)


@contextmanager
def locked(what: str = "lab") -> Iterator[None]:
    """One command at a time changes the lab (and one builds); another waits, and says so."""
    _LOCKS.mkdir(exist_ok=True)
    with (_LOCKS / f"dm-{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process has the lock ({what}): waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own() -> None:
    """Take the lab for this checkout, unless another one's runs."""
    _refuse_foreign()
    RUN.mkdir(mode=0o700, exist_ok=True)
    _OWNER.write_text(f"{CHECKOUT}\n")
    if not SSH_KEY.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dm-lab", "-f", SSH_KEY)


def _refuse_foreign() -> None:
    owner = _owner()
    if owner not in ("", str(CHECKOUT)) and any(processes.alive(name) for name in services.NAMES):
        raise LabError(
            f"the lab of another checkout runs on this machine: {owner}. There is one lab a machine: "
            f"stop it there (python -m tests.lab down), or here by: python -m tests.lab down --force"
        )


def _owner() -> str:
    return _OWNER.read_text().strip() if _OWNER.exists() else ""


def _fresh_host(name: str, docker: str) -> Host:
    _host_image_ready(docker)
    host = hosts.make(name, docker)
    host.wait_up()
    host.wait_docker()
    return host


def _host_image_ready(docker: str) -> None:
    """The outer Docker pulls the host's image from the lab's registry, where that is not what it has."""
    if docker not in host_images.DOCKER:
        raise LabError(f"a host has Docker {' or '.join(host_images.DOCKER)}, not {docker}")
    image = host_images.host_image(docker)
    local = f"{host_images.NAME}:{docker}"
    if services.docker("image", "inspect", "-f", "{{.Id}}", local, check=False).stdout.strip() == image.id:
        return
    images.publish(host_images.NAME, docker, image)
    services.docker("pull", "-q", f"{REGISTRY}/{local}")
    services.docker("tag", f"{REGISTRY}/{local}", local)


def environment() -> dict[str, str]:
    """What a run of the product in the lab is told."""
    return {
        "image_registry": REGISTRY,
        "binaries_url": BINARIES_URL,
        "http_proxy": APT_PROXY,
        "no_proxy": "10.89.0.0/16",
    }
