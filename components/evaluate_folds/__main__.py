"""``python -m components.evaluate_folds``."""

import sys

from components.evaluate_folds.program import main

sys.exit(main())
