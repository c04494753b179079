"""How programs speak: logs on stderr, the result as the last line of stdout, an expected error as one line."""

import errno
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from spine.errors import InvalidValueError, OutOfSpaceError, SpinelineError
from spine.log_lines import JsonLine, TextLine, identify
from spine.settings import settings

INTERRUPTED = 130
_OF_PATHS = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
_LOG = logging.getLogger("spineline")


class _Stderr(logging.Handler):
    """Writes to what stderr is at the time, which tests and child processes put elsewhere."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def setup(level: int = logging.INFO) -> None:
    """Send logs to stderr as SPINELINE_LOG_FORMAT says; called by programs, never on import.

    Text leaves alone what whoever runs this program has set up (pytest, kfp's launcher). JSON takes its place, so that
    warnings, the lines of all libraries, and what ends the program or a thread are lines like any other.
    """
    root = logging.getLogger()
    if not is_json():
        if any(not isinstance(handler, _Stderr) for handler in root.handlers):
            return
        _install(root, TextLine(), level)
        return
    _install(root, JsonLine(), level)
    identify(run=settings().run)
    # MLflow would write its own lines beside ours.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    logging.captureWarnings(True)
    sys.excepthook = _tell_uncaught
    threading.excepthook = lambda ended: _tell_uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)


def is_json() -> bool:
    """Tell whether logs are JSON; where a setting is wrong they are text."""
    try:
        return settings().log_format == "json"
    except InvalidValueError:
        return False  # the program tells it as soon as it needs a setting


def say(text: str, *, level: int = logging.INFO) -> None:
    """Put a plain line on stderr; where logs are JSON, a record of the log."""
    if is_json():
        _LOG.log(level, "%s", text)
    else:
        sys.stderr.write(text + "\n")


def run_program(work: Callable[[], str]) -> int:
    """Run ``work`` and print its result; return the exit status.

    An expected error is one line on stderr and its own exit code (2, or 1 for a verdict against); anything else is
    left as a traceback.
    """
    setup()
    try:
        result = work()
    except SpinelineError as error:
        say(f"error: {error}", level=logging.ERROR)
        return error.exit_code
    except OSError as error:
        message = format_os_error(error)
        if message is None:
            raise
        say(f"error: {message}", level=logging.ERROR)
        return 2
    except KeyboardInterrupt:
        say("interrupted; run the same command again to continue", level=logging.WARNING)
        return INTERRUPTED
    sys.stdout.write(result + "\n")
    return 0


def format_os_error(error: OSError) -> str | None:
    """Say in one line what the operating system refused, or None where it is no matter of files."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(OutOfSpaceError(_path_of(error)))
    if error.errno == errno.EROFS:
        return f"{error.filename}: lies on a read-only file system; expected a place that can be written"
    if isinstance(error, _OF_PATHS):
        return f"{error.filename}: {(error.strerror or 'refused').lower()}; expected a path that can be used"
    return None


def _install(root: logging.Logger, form: logging.Formatter, level: int) -> None:
    for handler in list(root.handlers):
        root.removeHandler(handler)
    handler = _Stderr()
    handler.setFormatter(form)
    root.addHandler(handler)
    root.setLevel(level)
    _LOG.setLevel(logging.INFO)  # what a program says is said, whatever libraries may say


def _tell_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    message = f"error: {error}" if isinstance(error, SpinelineError) else f"{kind.__name__}: {error}"
    _LOG.critical("%s", message, exc_info=(kind, error or kind(), trace))


def _path_of(error: OSError) -> Path:
    return Path(error.filename or ".")
