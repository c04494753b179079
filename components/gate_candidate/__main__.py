"""``python -m components.gate_candidate``."""

import sys

from components.gate_candidate.program import main

sys.exit(main())
