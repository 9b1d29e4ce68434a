"""Take away what was made: pyinfra inventory.py deploys/turndown.py"""

from deploys import turndown

turndown()
