"""The hosts, from the environment: MASTER_IP=192.168.1.10 WORKER_IPS=192.168.1.11,192.168.1.12.

Write your own for anything more, with the groups `masters` and `workers`:

    masters = ["192.168.1.10"]
    workers = [("192.168.1.11", {"node_name": "pi-1"}), "192.168.1.12"]
"""

import os
import sys

masters = [ip.strip() for ip in os.environ.get("MASTER_IP", "").split(",") if ip.strip()]
workers = [ip.strip() for ip in os.environ.get("WORKER_IPS", "").split(",") if ip.strip()]

if not masters and not workers:
    sys.exit(
        "inventory.py: no hosts. Set MASTER_IP and WORKER_IPS (comma-separated), or write an inventory of "
        'your own: masters = ["192.168.1.10"] and workers = ["192.168.1.11", "192.168.1.12"]'
    )
