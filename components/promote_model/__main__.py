"""``python -m components.promote_model``."""

import sys

from components.promote_model.program import main

sys.exit(main())
