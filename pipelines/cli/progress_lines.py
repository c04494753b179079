"""Progress where there is no terminal: a line now and then, and none of the news kept back for long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spine.progress import ProgressEvent

_QUIET_S = 10.0
_LOOK_S = 0.5
_Key = tuple[str, str]


class ProgressLines:
    """Tells where a task begins and ends at once, and between, every ten seconds at most, what is newest of it."""

    def __init__(self, tell: Callable[[ProgressEvent], None]) -> None:
        self._tell = tell
        self._reported_at: dict[_Key, float] = {}
        self._kept: dict[_Key, ProgressEvent] = {}
        self._lock = threading.Lock()

    def show(self, event: ProgressEvent) -> None:
        """Tell an event, or keep it until its task's last line is ten seconds old or something newer comes."""
        key = (event.step, event.task)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = event
            if event.done >= event.total or self._is_due(key):
                self._tell_kept(key)

    def begin_part(self) -> None:
        """Tell what is kept; whatever comes next begins anew."""
        self._tell_all(only_due=False)
        with self._lock:
            self._reported_at.clear()

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """Tell what is due while the block runs, also where no further event comes, and at its end all that is left."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_S):
                self._tell_all(only_due=True)

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()
            self._tell_all(only_due=False)

    def _tell_all(self, *, only_due: bool) -> None:
        with self._lock:
            for key in list(self._kept):
                if not only_due or self._is_due(key):
                    self._tell_kept(key)

    def _is_due(self, key: _Key) -> bool:
        return key not in self._reported_at or time.monotonic() - self._reported_at[key] > _QUIET_S

    def _tell_kept(self, key: _Key) -> None:
        self._reported_at[key] = time.monotonic()
        self._tell(self._kept.pop(key))
