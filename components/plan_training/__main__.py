"""``python -m components.plan_training``."""

import sys

from components.plan_training.program import main

sys.exit(main())
