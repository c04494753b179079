"""``python -m components.train_folds``."""

import sys

from components.train_folds.program import main

sys.exit(main())
