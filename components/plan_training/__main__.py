"""``python -m components.plan_training``."""

import sys

from components.plan_training.main import main

sys.exit(main())
