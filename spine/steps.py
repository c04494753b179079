"""Runs a step of a pipeline and reports its record or error."""

import logging
from collections.abc import Callable

from spine import progress
from spine.errors import SpinelineError
from spine.logs import format_os_error, say, setup
from spine.settings import settings
from spine.transience import is_transient

RECORD, ERROR = "record", "error"


def run_step(step: str, work: Callable[[], str]) -> str:
    """Run a step's work and return its record as text.

    The record is reported to whoever follows the run. An error is raised again, for the step has to fail in Kubeflow
    as well; in a run on a cluster it is printed before as one line, ``STEP: error: MESSAGE`` or ``STEP: transient
    error: MESSAGE``, from which those who follow the run read the reason and whether another attempt can succeed.
    """
    setup()
    is_followed = settings().progress_file is not None
    try:
        text = work()
    except Exception as error:
        message = _message(error)
        if is_followed and isinstance(error, SpinelineError | OSError):
            progress.report(step, ERROR, done=0, total=1, note=message)
        if settings().run is not None:
            say(f"{step}: {'transient ' if is_transient(error) else ''}error: {message}", level=logging.ERROR)
        raise
    if is_followed:
        progress.report(step, RECORD, done=1, total=1, note=text)
    return text


def _message(error: Exception) -> str:
    """Return an error as one line, with its class unless the message was written for users."""
    expected = format_os_error(error) if isinstance(error, OSError) else None
    text = expected or (str(error) if isinstance(error, SpinelineError) else f"{type(error).__name__}: {error}")
    return " ".join(text.split())
