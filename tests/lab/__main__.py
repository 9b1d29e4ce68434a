"""The command line: python -m tests.lab CMD."""

from __future__ import annotations

import argparse
import shlex
import sys

from . import host_images, hosts, lab, services
from .lab import Lab
from .paths import KNOWN_HOSTS, SSH_KEY
from .shell import LabError, say


def main() -> int:
    """Do what the command line says."""
    options = _parser().parse_args()
    try:
        return int(options.call(options) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=sys.modules["tests.lab"].__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(call=call)
        return sub

    command("build", _build, "make everything that is missing in the cache")
    up = command("up", _up, "bring the lab and hosts up; hosts that run are kept")
    up.add_argument("--hosts", default="n1,n2", help="which hosts (n1,n2)")
    up.add_argument("--docker", choices=sorted(host_images.DOCKER), help="their Docker (as it is, else 26)")
    up.add_argument("--mixed", action="store_true", help="one host has Docker 26, the next 28, and so on")
    up.add_argument("--no-build", action="store_true", help="do not build what the registry lacks")
    for name, call, text in (
        ("new", _new, "throw hosts away and start them fresh"),
        ("reboot", _reboot, "shut hosts down in order, and up again"),
        ("power-cut", _power_cut, "kill hosts, and up again"),
    ):
        sub = command(name, call, text)
        sub.add_argument("names", nargs="+", metavar="HOST")
        if name == "new":
            sub.add_argument(
                "--docker", choices=sorted(host_images.DOCKER), help="with this Docker (as it was, else 26)"
            )
    ssh = command("ssh", _ssh, "a shell or a command on a host")
    ssh.add_argument("--user", default="root", choices=("root", "lab"))
    ssh.add_argument("name", metavar="HOST")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD")
    down = command("down", _down, "stop everything; the caches stay")
    down.add_argument("--force", action="store_true", help="also when another checkout started it")
    command("status", _status, "what runs")
    return parser


def _build(_: argparse.Namespace) -> None:
    Lab.build()


def _up(options: argparse.Namespace) -> None:
    running = Lab.up(build=False)
    for index, name in enumerate(options.hosts.split(",")):
        version = ("26", "28")[index % 2] if options.mixed else options.docker
        host = running.host(name, docker=version)
        say(f"{name} is up: {host.address}, Docker {host.docker}")
    if not options.no_build:
        Lab.build()
    print(_usage())


def _usage() -> str:
    data = " ".join(f"--data {key}={shlex.quote(value)}" for key, value in lab.environment().items())
    return (
        f"ssh:      ssh -i {SSH_KEY} -o UserKnownHostsFile={KNOWN_HOSTS} root@ADDRESS\n"
        f"pyinfra:  pyinfra {data} INVENTORY deploys/cluster.py"
    )


def _new(options: argparse.Namespace) -> None:
    running = Lab.up(build=False)
    for name in options.names:
        host = running.host(name, docker=options.docker, fresh=True)
        say(f"{name} is fresh: {host.address}, Docker {host.docker}")


def _reboot(options: argparse.Namespace) -> None:
    for name in options.names:
        hosts.must_exist(name).reboot()
        say(f"{name} is up again")


def _power_cut(options: argparse.Namespace) -> None:
    for name in options.names:
        hosts.must_exist(name).power_cut()
        say(f"{name} is up again")


def _ssh(options: argparse.Namespace) -> int:
    return hosts.must_exist(options.name).shell(options.words, options.user)


def _down(options: argparse.Namespace) -> None:
    lab.down(force=options.force)
    say("the lab is down; its caches stay")


def _status(_: argparse.Namespace) -> None:
    if not services.is_up():
        print("the lab is not up")
        return
    for host in hosts.existing().values():
        print(f"{host.name}  {host.address}  Docker {host.docker}  {hosts.state(host)}")
    print(_usage())


if __name__ == "__main__":
    sys.exit(main())
