"""Folders that one process at a time works in: a lock that the kernel frees when its holder ends, however that was."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spine.errors import SpinelineError
from spine.logs import INTERRUPTED

_FILE = ".lock"
_POLL_S = 0.2


class InUseError(SpinelineError):
    """Another process works in a folder, and does not let go of it."""


class WaitInterruptedError(SpinelineError):
    """A process was stopped while it waited for a folder."""

    exit_code = INTERRUPTED


@contextmanager
def held(
    folder: Path, *, wait_s: float, on_wait: Callable[[str], None], stop: threading.Event | None = None
) -> Iterator[None]:
    """Keep a folder to this process for the block, waiting up to ``wait_s`` for another; ``on_wait`` is told of it.

    Raises InUseError when that was not enough, WaitInterruptedError where ``stop`` was set meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline, message = time.monotonic() + wait_s, False
        while not _is_ours(handle):
            holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
            if not message:
                on_wait(f"{folder.name} is in use by {holder}; waiting")
                message = True
            if stop and stop.is_set():
                raise WaitInterruptedError(f"{folder}: stopped while {holder} had it; run again to continue")
            if time.monotonic() > deadline:
                raise InUseError(f"{folder}: in use by {holder}; expected to have it within {wait_s:g} s")
            time.sleep(_POLL_S)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        os.close(handle)


def is_free(folder: Path) -> bool:
    """Tell whether no process holds a folder; False also where that cannot be found out.

    Not to be called by a process that holds the folder itself: it would let go of it.
    """
    try:
        handle = os.open(folder / _FILE, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        return _is_ours(handle)
    finally:
        os.close(handle)


def _is_ours(handle: int) -> bool:
    try:
        # A record lock, which forked workers do not inherit.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
