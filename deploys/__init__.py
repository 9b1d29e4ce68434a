"""docker-multinode: multi-node Kubernetes on machines that only have Docker and sshd, by pyinfra."""

from . import needs as needs
from .roles import backup, cluster, evidence, kubeconfig, master, restore, status, turndown, worker

__all__ = ["backup", "cluster", "evidence", "kubeconfig", "master", "restore", "status", "turndown", "worker"]
