"""``python -m components.pull_dataset``."""

import sys

from components.pull_dataset.program import main

sys.exit(main())
