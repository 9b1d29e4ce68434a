"""The demo: a two-node cluster on hosts of the lab, brought up by the commands that a user types.

python -m tests.demo up     make demo
python -m tests.demo down   make demo-down
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.lab import Host, Lab, LabError, processes, services
from tests.lab.lab import environment
from tests.lab.paths import CACHE, CHECKOUT, KNOWN_HOSTS, SSH_KEY, WWW, host_address

MASTER, WORKER = HOSTS = ("n91", "n92")
FOLDER = CACHE.parent / "demo"
PLAN = FOLDER / "plan.txt"
KUBECONFIG = FOLDER / "kubeconfig"
KUBECTL = ("docker", "exec", "kubelet", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf")
ADDONS = "coredns,metrics-server"
"""The dashboard's image is not among those that the lab has."""


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo")
    parser.add_argument("command", choices=("up", "down"))
    try:
        return up() if parser.parse_args().command == "up" else down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; take away what is there with: make demo-down", file=sys.stderr)
        return 130


def up() -> int:
    """Two hosts, the plan, the master, the worker, and a look at the cluster."""
    begin = time.monotonic()
    _refuse_what_cannot_work()
    _title("Two hosts that have Docker and sshd, and nothing else")
    lab = Lab.up()
    again = set(HOSTS) <= set(lab.hosts())
    hosts = [lab.host(name) for name in HOSTS]
    for host in hosts:
        print(f"{host.name}  {host.address}  Docker {host.docker}")
    if again:
        print("They are there from an earlier demo, so the plan may be empty. Fresh ones: make demo-down demo")

    FOLDER.mkdir(parents=True, exist_ok=True)
    _title("The plan: nothing is changed yet")
    if status := _plan():
        return status
    for deploy in ("master", "worker"):
        _title(f"The {deploy}")
        if status := _run("-y", f"deploys/{deploy}.py"):
            return _failed(status)
    _title("A kubeconfig")
    if status := _run("-y", "deploys/kubeconfig.py", "--data", f"kubeconfig_path={KUBECONFIG}"):
        return _failed(status)

    _title("The cluster")
    for words in (("get", "nodes", "-o", "wide"), ("get", "pods", "-A", "-o", "wide"), ("top", "nodes")):
        _kubectl(hosts[0], words)
    _how_to_go_on(hosts[0], time.monotonic() - begin)
    return 0


def down() -> int:
    """Throw the demo's hosts away; the lab too, unless it has other hosts."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    if not any(processes.alive(name) for name in services.NAMES):
        print("the lab is not up, so the demo is not either")
        return 0
    lab = Lab()
    others = sorted(set(lab.hosts()) - set(HOSTS))
    if not others:
        lab.down()
        print("the demo's hosts and the lab are gone; the lab's cache stays for the next time")
        return 0
    for name, host in lab.hosts().items():
        if name in HOSTS:
            host.remove()
    print(f"the demo's hosts are gone; the lab stays up for its other hosts, {', '.join(others)}")
    return 0


def _refuse_what_cannot_work() -> None:
    if os.geteuid():
        raise LabError("its hosts are containers with a network of their own: run this as root")
    if not shutil.which("go"):
        raise LabError("there is no go in PATH, with which it builds images; install Go from https://go.dev/dl")


def _title(text: str) -> None:
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def _pyinfra(*words: str) -> tuple[dict[str, str], list[str]]:
    """The environment and the words of a run: the shipped inventory, and what holds in the lab."""
    hosts = {"MASTER_IP": host_address(MASTER), "WORKER_IPS": host_address(WORKER)}
    data = {**environment(), "addons": ADDONS, "ssh_known_hosts_file": str(KNOWN_HOSTS)}
    # the network's own addresses; those of the cluster are added by the deploy
    data["no_proxy"] = "10.89.0.0/16"
    login = ["--ssh-user", "root", "--ssh-key", str(SSH_KEY)]
    pairs = [word for key, value in data.items() for word in ("--data", f"{key}={value}")]
    return hosts, ["pyinfra", "inventory.py", *words, *login, *pairs]


def _shown(hosts: dict[str, str], command: Iterable[str]) -> None:
    """Print a command so that it can be typed; from the checkout, with tests/tools/in-venv before it."""
    text = " ".join([*(f"{key}={value}" for key, value in hosts.items()), shlex.join(command)])
    print("$ " + text.replace(" --ssh-user", " \\\n    --ssh-user").replace(" --data", " \\\n    --data"), flush=True)


def _run(*words: str) -> int:
    hosts, command = _pyinfra(*words)
    _shown(hosts, command)
    return subprocess.call(command, cwd=CHECKOUT, env={**os.environ, **hosts}, stdin=subprocess.DEVNULL)


def _plan() -> int:
    """Show the table of the plan on the screen, all of it in a file."""
    hosts, command = _pyinfra("deploys/cluster.py", "--dry", "--diff")
    _shown(hosts, command)
    result = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, **hosts},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    PLAN.write_text(result.stdout)
    if result.returncode:
        print(result.stdout)
        return result.returncode
    lines = result.stdout.splitlines()
    start = next((i for i, line in enumerate(lines) if "Detected changes:" in line), 0)
    end = next((i for i, line in enumerate(lines[start:], start) if i > start and not line.strip()), len(lines))
    print("\n".join(lines[start:end]))
    print(f"\nEvery file, container and certificate, in full: {PLAN} ({len(lines)} lines)")
    return 0


def _failed(status: int) -> int:
    print(f"\nThe run failed (exit status {status}); the reason stands above. Take away what is there: make demo-down")
    return status


def _kubectl(host: Host, words: Iterable[str]) -> None:
    print(f"\n$ kubectl {shlex.join(words)}", flush=True)
    command = shlex.join([*KUBECTL, *words])
    # a node's first figures come with the metrics-server's first round
    for _ in range(30):
        result = host.run(command, check=False)
        if result.returncode == 0 and "<unknown>" not in result.stdout:
            break
        time.sleep(3)
    print((result.stdout + result.stderr).rstrip(), flush=True)


def _how_to_go_on(master: Host, seconds: float) -> None:
    ssh = f"ssh -i {SSH_KEY} -o UserKnownHostsFile={KNOWN_HOSTS} root@{master.address}"
    kubectl = next(WWW.glob("release/*/bin/linux/*/kubectl"), Path("kubectl"))
    print(
        f"\nTwo nodes after {seconds / 60:.1f} minutes. To go on:\n"
        f"\n  kubectl from here:\n"
        f"    export KUBECONFIG={KUBECONFIG}\n"
        f"    {kubectl} get nodes\n"
        f"\n  kubectl on the master, where the kubelet's container has one:\n"
        f"    {ssh}\n"
        f"    {shlex.join(KUBECTL)} get nodes\n"
        f"\n  the plan once more, which is empty now:\n"
        f"    make demo\n"
        f"\n  take it down:\n"
        f"    make demo-down"
    )


if __name__ == "__main__":
    sys.exit(main())
