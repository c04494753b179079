"""``python -m components.evaluate_folds``."""

import sys

from components.evaluate_folds.main import main

sys.exit(main())
