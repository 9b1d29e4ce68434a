"""docker-multinode: multi-node Kubernetes on machines that only have Docker and sshd, by pyinfra."""

from .roles import cluster, kubeconfig, master, status, turndown, worker

__all__ = ["cluster", "kubeconfig", "master", "status", "turndown", "worker"]
