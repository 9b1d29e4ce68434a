"""The lab: hosts in containers, and a registry with what a cluster is made of. See README.md."""

from .hosts import Host
from .lab import Lab
from .shell import LabError

__all__ = ["Host", "Lab", "LabError"]
