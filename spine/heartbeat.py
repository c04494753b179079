"""Heartbeats: files that a working process rewrites, so that processes on any machine can detect its end."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HEARTBEAT_FILE = "heartbeat"
PERIOD_S = 30.0
_LOG = logging.getLogger(__name__)


class Heartbeat:
    """Rewrites the heartbeat of each of ``folders`` every ``period_s`` for the block, from a thread of its own.

    A file that cannot be written is logged once and tried again: work must go on.
    """

    def __init__(self, folders: Sequence[Path], *, period_s: float = PERIOD_S) -> None:
        self._files = [folder / HEARTBEAT_FILE for folder in folders]
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
        self._is_reported = False

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._period_s):
            self._beat()

    def _beat(self) -> None:
        # The content changes, since not every shared file system shows another machine a newer time at once.
        content = f"process {os.getpid()} on {os.uname().nodename} at {time.time():.3f}\n"
        for file in self._files:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content, encoding="utf-8")
            except OSError as error:
                if not self._is_reported:
                    _LOG.warning("%s: heartbeat not written: %s", file, error.strerror or error)
                self._is_reported = True


class HeartbeatWatch:
    """Durations without a change of other processes' files, by this process's own clock: other clocks may differ."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[Path, ...], tuple[tuple[object, ...], float]] = {}

    def silent_s(self, *files: Path) -> float:
        """Return for how many seconds none of ``files`` has changed since they were first watched together.

        0 at the first call, after every change, and where a file cannot be read.
        """
        now = self._clock()
        state = tuple(_state(file) for file in files)
        known, since = self._seen.get(files, ((), now))
        if state != known or None in state:
            known, since = state, now
        self._seen[files] = known, since
        return now - since


def _state(file: Path) -> object:
    """Return what changes with a file: a heartbeat's content, the size of any other; None where it is unreadable."""
    try:
        return file.read_bytes() if file.name == HEARTBEAT_FILE else file.stat().st_size
    except FileNotFoundError:
        return "missing"
    except OSError:
        return None
