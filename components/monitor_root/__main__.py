"""``python -m components.monitor_root``: see ``program.py``."""

import sys

from components.monitor_root.program import main

sys.exit(main())
