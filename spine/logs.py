"""How programs speak: logs on stderr, the result as the last line of stdout, an expected error as one line."""

import errno
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from spine.errors import OutOfSpaceError, SpinelineError

INTERRUPTED = 130
_OF_PATHS = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def setup(level: int = logging.INFO) -> None:
    """Send logs to stderr; called by programs, never on import."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")


def run_program(work: Callable[[], str]) -> int:
    """Run ``work`` and print its result; return the exit status.

    An expected error is one line on stderr and its own exit code (2, or 1 for a verdict against); anything else is
    left as a traceback.
    """
    setup()
    try:
        result = work()
    except SpinelineError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        told = told_os_error(error)
        if told is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to continue\n")
        return INTERRUPTED
    sys.stdout.write(result + "\n")
    return 0


def told_os_error(error: OSError) -> str | None:
    """Say in one line what the operating system refused, or None where it is no matter of files."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(OutOfSpaceError(_path_of(error)))
    if error.errno == errno.EROFS:
        return f"{error.filename}: lies on a read-only file system; expected a place that can be written"
    if isinstance(error, _OF_PATHS):
        return f"{error.filename}: {(error.strerror or 'refused').lower()}; expected a path that can be used"
    return None


def _path_of(error: OSError) -> Path:
    return Path(error.filename or ".")
