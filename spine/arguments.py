"""The arguments of programs: what is wrong with them is told as every other error is, also where logs are JSON."""

import argparse
import logging
import sys
from typing import NoReturn

from spine.logs import is_json, say, setup


class Arguments(argparse.ArgumentParser):
    """argparse's parser, whose errors are one line ``error: …`` of the log, below the usage where logs are text."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with 2."""
        setup()
        if not is_json():
            self.print_usage(sys.stderr)
        say(f"error: {message}", level=logging.ERROR)
        self.exit(2)
