"""Bring up the masters: pyinfra inventory.py deploys/master.py"""

from deploys import master

master()
