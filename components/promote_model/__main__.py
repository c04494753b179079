"""``python -m components.promote_model``."""

import sys

from components.promote_model.main import main

sys.exit(main())
