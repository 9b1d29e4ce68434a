"""The steps that bring a node up, in order; turning it down goes the other way.

Each phase is a file with ``apply(node)`` and ``remove(node)``: what is made and what is taken away.
"""

from . import (
    addons,
    bootstrap,
    control_plane,
    docker,
    etcd,
    flannel,
    host,
    node,
    pki,
    preflight,
    verify,
)

PHASES = (
    preflight,      # refuse what can't work, before anything is changed
    host,           # kernel modules, sysctls, the record
    pki,            # authorities on the master, certificates everywhere
    bootstrap,      # the second Docker daemon
    etcd,           # in the bootstrap daemon, on the master
    flannel,        # in the bootstrap daemon: the node's subnet
    docker,         # the main Docker on that subnet: docker0 is the pod network
    node,           # the container with kubelet and cri-dockerd
    control_plane,  # static pods
    addons,         # DNS, metrics, dashboard
    verify,         # Ready, pod network, DNS
)  # fmt: skip
