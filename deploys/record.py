"""Where things are on a host: the record, and the places of what we make."""

from __future__ import annotations

RECORD = "/var/lib/docker-multinode"
FILES = f"{RECORD}/files"
"""One path a line: every file that we wrote."""
DIRECTORIES = f"{RECORD}/directories"
"""One path a line: every directory that we made, parents first."""
BEFORE = f"{RECORD}/before"
"""What was there before us: a file a value."""
BEFORE_PATHS = f"{BEFORE}/paths"
"""One path a line: what lay in SHARED_PLACES, in ETCD_DATA and BOOTSTRAP_DATA, and flannel's link. The first thing that
is written on a host."""
BEFORE_DOCKER0 = f"{BEFORE}/docker0"
"""The address that docker0 had."""
DATA = f"{RECORD}/data.json"
"""What etcd's data is of, on the first master: Kubernetes version, service_network and dns_server_ip. It stays with the
data."""
SUBNET_ENV = f"{RECORD}/subnet.env"
"""The node's subnet for life; the main Docker reads it at each start."""
IMAGES = f"{RECORD}/images"
"""One reference a line: the images of the main Docker that came by us."""
NODE = f"{RECORD}/node.json"
"""The node's name, role and address; the Kubernetes version, the master's address, service_network, dns_server_ip."""
BACKUPS = f"{RECORD}/backups"
"""Archives of deploys/backup.py; data: they go with purge_data only."""

KUBERNETES = "/etc/kubernetes"
PKI = f"{KUBERNETES}/pki"
KUBE_PROXY = f"{PKI}/kube-proxy"
SCHEDULER = f"{PKI}/scheduler"
"""Directories of their own: these two have no other key of the host mounted, and see a renewed certificate."""
MANIFESTS = f"{KUBERNETES}/manifests"
KUBELET = "/var/lib/kubelet"
KUBELET_CLIENT = f"{KUBELET}/pki/kubelet-client-current.pem"
ETCD_DATA = "/var/lib/etcd"
BOOTSTRAP, MAIN = "docker-bootstrap", "docker"
"""Units of the two daemons."""
BOOTSTRAP_UNIT = f"/etc/systemd/system/{BOOTSTRAP}.service"
DAEMON_JSON = "/etc/docker/daemon.json"
"""The main Docker's configuration. It is its owner's: no run writes it."""
DOCKER_DROP_IN = f"/etc/systemd/system/{MAIN}.service.d/zz-docker-multinode.conf"
"""After all others."""
BOOTSTRAP_ETC = "/etc/docker-bootstrap"
BOOTSTRAP_CONFIG = f"{BOOTSTRAP_ETC}/daemon.json"
BOOTSTRAP_DATA = "/var/lib/bootstrap-docker"
"""Not /var/lib/docker-…: a dockerd that stops or starts unmounts what lies under its own root by the
text of its path alone, so the main one would take the rootfs of etcd and flannel away (measured on 26.1.5)."""
BOOTSTRAP_RUN = "/run/bootstrap-docker"
BOOTSTRAP_BRIDGE = "docker-boot0"
BOOTSTRAP_SOCKET = "/run/docker-bootstrap.sock"
SOCKETS = {"bootstrap": BOOTSTRAP_SOCKET, "main": "/var/run/docker.sock"}
"""Daemon → where it answers."""
ETCD_CONTAINER, FLANNEL_CONTAINER, KUBELET_CONTAINER = "etcd", "flannel", "kubelet"
"""Names of our containers: the first two are in the bootstrap daemon, the third is in the main one."""
LOCAL_DOCKER = f"export DOCKER_HOST=unix://{SOCKETS['main']};"
"""Stands before what says ``docker`` alone: root's own DOCKER_HOST or docker context may name another machine."""
FLANNEL_RUN = "/run/flannel"
CRI_SOCKET = "/run/cri-dockerd.sock"
KUBELET_PLACES = (KUBELET, "/var/lib/cri-dockerd", CRI_SOCKET, "/var/log/pods", "/var/log/containers")
SHARED_PLACES = (FLANNEL_RUN, *KUBELET_PLACES)
"""What any Kubernetes has: ours where the record says that the host is a node, but for what lay there before."""

MODULES_FILE = "/etc/modules-load.d/docker-multinode.conf"
SYSCTL_FILE = "/etc/sysctl.d/zz-docker-multinode.conf"
"""After 99-sysctl.conf, by which Debian up to 12, Ubuntu and RHEL read /etc/sysctl.conf at boot."""

OWN_PLACES = (
    KUBERNETES,
    BOOTSTRAP_ETC,
    BOOTSTRAP_UNIT,
    DOCKER_DROP_IN,
    MODULES_FILE,
    SYSCTL_FILE,
    RECORD,
)
"""Directories and files that are ours alone; what lies there and was not written by us is foreign."""
