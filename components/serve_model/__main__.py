"""``python -m components.serve_model``."""

import sys

from components.serve_model.program import main

sys.exit(main())
