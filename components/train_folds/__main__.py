"""``python -m components.train_folds``."""

import sys

from components.train_folds.main import main

sys.exit(main())
