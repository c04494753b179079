"""``python -m components.register_candidate``."""

import sys

from components.register_candidate.program import main

sys.exit(main())
