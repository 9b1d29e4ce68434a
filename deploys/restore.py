"""Put the cluster's data back: pyinfra inventory.py deploys/restore.py --data restore_from=PATH"""

from deploys import restore

restore()
