"""``python -m components.serve_model``."""

import sys

from components.serve_model.main import main

sys.exit(main())
