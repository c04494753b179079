"""``python -m components.prepare_dataset``."""

import sys

from components.prepare_dataset.program import main

sys.exit(main())
