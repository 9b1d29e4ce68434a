"""Where the lab keeps its things, and which addresses it uses."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "docker-multinode" / "lab"
"""What outlives a lab: built programs, layers, the outer Docker's data, the registry's content."""

RUN = Path("/run/dm-lab")
"""What belongs to the lab that runs now: pids, sockets, keys. One lab a machine, hence one fixed place."""

NETNS = "dm-lab"
CGROUP = "dm-lab"
SUBNET = "10.89.0.0/24"
BRIDGE = "dm-lab0"
BRIDGE_ADDRESS = "10.89.0.1"
VETH_MACHINE, VETH_LAB = "dm-lab-out", "dm-lab-in"
MACHINE_ADDRESS, LAB_ADDRESS = "10.89.255.1", "10.89.255.2"

REGISTRY_PORT, APT_PORT, HTTP_PORT = 5000, 3142, 8080
REGISTRY = f"{MACHINE_ADDRESS}:{REGISTRY_PORT}"
APT_PROXY = f"http://{MACHINE_ADDRESS}:{APT_PORT}"
BINARIES_URL = f"http://{MACHINE_ADDRESS}:{HTTP_PORT}"

DOCKER_SOCKET = RUN / "docker.sock"
SSH_KEY = RUN / "id_ed25519"
KNOWN_HOSTS = RUN / "known_hosts"
WWW = CACHE / "www"


def host_address(name: str) -> str:
    """The address of host `n1`, `n2`, …: a fixed one, so that keys and inventories can be kept."""
    number = name.removeprefix("n")
    if not name.startswith("n") or not number.isdigit() or not 1 <= int(number) <= 99:
        raise ValueError(f"a lab's host is called n1 … n99, not {name!r}")
    return f"10.89.0.{10 + int(number)}"
