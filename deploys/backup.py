"""Take a backup of the cluster on the first master: pyinfra inventory.py deploys/backup.py"""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))  # it may be run from any directory, also from one with a deploys/ of its own
__import__(here.name).backup()
