"""``python -m components.register_candidate``."""

import sys

from components.register_candidate.main import main

sys.exit(main())
