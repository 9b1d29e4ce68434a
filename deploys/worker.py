"""Bring up the workers: pyinfra inventory.py deploys/worker.py"""

from deploys import worker

worker()
