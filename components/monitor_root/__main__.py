"""``python -m components.monitor_root``: see ``main.py``."""

import sys

from components.monitor_root.main import main

sys.exit(main())
