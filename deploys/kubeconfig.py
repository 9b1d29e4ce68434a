"""Fetch a kubeconfig: pyinfra inventory.py deploys/kubeconfig.py --data kubeconfig_path=./kubeconfig"""

from deploys import kubeconfig

kubeconfig()
