"""``python -m components.prepare_dataset``."""

import sys

from components.prepare_dataset.main import main

sys.exit(main())
