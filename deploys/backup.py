"""Take a backup of the cluster on the first master: pyinfra inventory.py deploys/backup.py"""

from deploys import backup

backup()
