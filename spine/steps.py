"""How a step of a pipeline tells what came of it: the record that it made, or the reason that it failed."""

from collections.abc import Callable

from spine import progress
from spine.errors import SpinelineError
from spine.logs import setup, told_os_error
from spine.settings import settings

RECORD, ERROR = "record", "error"


def run_step(step: str, work: Callable[[], str]) -> str:
    """Run a step's work and return its record as text, told to whoever follows the run.

    An expected error (a full disk is one) is told too, and raised on: a step that fails must fail in Kubeflow as well.
    """
    setup()
    is_followed = settings().progress_file is not None
    try:
        text = work()
    except (SpinelineError, OSError) as error:
        told = told_os_error(error) if isinstance(error, OSError) else str(error)
        if told and is_followed:
            progress.report(step, ERROR, done=0, total=1, note=told)
        raise
    if is_followed:
        progress.report(step, RECORD, done=1, total=1, note=text)
    return text
