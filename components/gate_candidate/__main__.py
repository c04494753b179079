"""``python -m components.gate_candidate``."""

import sys

from components.gate_candidate.main import main

sys.exit(main())
