"""Signals that end a program, handled as Ctrl-C: resources are closed, and the state of the run is reported."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_has_arrived = threading.Event()


@contextmanager
def ending_signals_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt within the block on SIGTERM and SIGHUP; one that is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _has_arrived.clear()
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt where a signal has arrived: Python drops what is raised within a destructor."""
    if _has_arrived.is_set():
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _has_arrived.set()
    raise KeyboardInterrupt
