"""How far a pull is, in bytes, as the steps tell it."""

import threading

from spine import progress

STEP = "pull_dataset"
_BYTES_PER_MB = 1_000_000


class Meter:
    """Counts what is done, from many threads: bytes of a known total, or objects where dvc.lock names no size."""

    def __init__(self, *, total_bytes: int | None, objects: int) -> None:
        self._total_bytes = total_bytes
        self._objects = objects
        self._bytes_done = 0
        self._bytes_moved = 0
        self._objects_done = 0
        self._lock = threading.Lock()

    def read(self, count: int, *, files: int) -> None:
        """Count bytes that arrived, of an object that stands for ``files`` files."""
        with self._lock:
            self._bytes_moved += count
            self._bytes_done += count * files

    def revert(self, count: int, *, files: int) -> None:
        """Take back the bytes of an object that turned out bad: they were moved, and nothing is done."""
        with self._lock:
            self._bytes_done -= count * files

    def kept(self, count: int, *, files: int) -> None:
        """Count bytes that were here before."""
        with self._lock:
            self._bytes_done += count * files

    def finished(self) -> None:
        """Count an object that is here, whole."""
        with self._lock:
            self._objects_done += 1

    def tell(self) -> None:
        """Report how far the pull is, and what it has moved."""
        note = f"{_megabytes(self._bytes_moved)} MB moved"
        if self._total_bytes is None:
            progress.report(STEP, "fetch and check (objects)", done=self._objects_done, total=self._objects, note=note)
            return
        # The size in dvc.lock is told, not trusted: a bar must neither overshoot nor stay open.
        is_done = self._objects_done == self._objects
        done = self._total_bytes if is_done else min(self._bytes_done, self._total_bytes)
        progress.report(
            STEP, "fetch and check (MB)", done=_megabytes(done), total=_megabytes(self._total_bytes), note=note
        )


def _megabytes(count: int) -> float:
    return round(count / _BYTES_PER_MB, 1)
