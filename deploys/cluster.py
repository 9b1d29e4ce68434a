"""Bring up masters and workers side by side: pyinfra inventory.py deploys/cluster.py"""

from deploys import cluster

cluster()
