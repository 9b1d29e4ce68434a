"""Show the state of the cluster: pyinfra inventory.py deploys/status.py -y"""

from deploys import status

status()
