"""How training is stopped: a signal sets an event, the iteration is finished, a checkpoint written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from spine.errors import SpinelineError
from spine.logs import INTERRUPTED

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingInterruptedError(SpinelineError):
    """Training was stopped by a signal; run again, it continues from its last checkpoint."""

    exit_code = INTERRUPTED


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event for the block; signals reach a program's main thread only."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
