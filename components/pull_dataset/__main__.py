"""``python -m components.pull_dataset``."""

import sys

from components.pull_dataset.main import main

sys.exit(main())
