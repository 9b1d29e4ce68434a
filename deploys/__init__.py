"""docker-multinode: multi-node Kubernetes on machines that only have Docker and sshd, by pyinfra."""

from .roles import cluster, evidence, kubeconfig, master, status, turndown, worker

__all__ = ["cluster", "evidence", "kubeconfig", "master", "status", "turndown", "worker"]
