"""Who may be worked on now: scans are let in one after the other as far as workers and memory go."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from components.serve_model.errors import ShortOfMemoryError, TooLargeError

_GIB = 1 << 30
_REMEMBERED = 20
_UNKNOWN_S = 30.0
"""Taken for the duration of a scan before the first one is done."""
_LONGEST_PAUSE_S = 600


class Admission:
    """A line of scans, first come first served; lives on the event loop alone.

    ``budget`` gives the memory in bytes that could be had now. While nothing is worked on that is the capacity; later
    it is what was free then, or less where others on the machine took some of it.
    """

    def __init__(self, *, slots: int, budget: Callable[[], int]) -> None:
        self._slots, self._budget = slots, budget
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._running, self._reserved = 0, 0
        self._idle_bytes, self._most_bytes = 0, 0
        self._durations_s: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def waiting(self) -> int:
        """How many scans stand in the line."""
        return sum(not turn.cancelled() for _, turn in self._line)

    @asynccontextmanager
    async def place(self, need_bytes: int) -> AsyncIterator[None]:
        """Wait for a place with ``need_bytes`` of memory and hold it.

        Raises TooLargeError where that much was never free, ShortOfMemoryError where it isn't and nothing that is
        worked on could free it.
        """
        await self._enter(need_bytes)
        started = time.monotonic()
        try:
            yield
            self._durations_s.append(time.monotonic() - started)
        finally:
            self._leave(need_bytes)

    def retry_after_s(self, *, ahead: int) -> int:
        """Estimate the seconds until ``ahead`` scans are done, from those that were done lately."""
        each_s = sum(self._durations_s) / len(self._durations_s) if self._durations_s else _UNKNOWN_S
        return min(max(math.ceil(each_s * ahead / self._slots), 1), _LONGEST_PAUSE_S)

    def require_possible(self, need_bytes: int) -> None:
        """Raise TooLargeError for more memory than was ever free."""
        self._capacity()
        if need_bytes > self._most_bytes:
            needed, most = need_bytes / _GIB, self._most_bytes / _GIB
            raise TooLargeError(f"the scan needs about {needed:.1f} GiB of memory", limit=f"{most:.1f} GiB")

    async def _enter(self, need_bytes: int) -> None:
        self.require_possible(need_bytes)
        if not self._line and self._fits(need_bytes, self._capacity()):
            self._take(need_bytes)
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append((need_bytes, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._leave(need_bytes)  # it was let in at the same moment
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._line:
            need_bytes, turn = self._line[0]
            if turn.cancelled():
                pass
            elif self._fits(need_bytes, self._capacity()):
                self._take(need_bytes)
                turn.set_result(None)
            elif not self._running:
                turn.set_exception(ShortOfMemoryError(retry_after_s=self.retry_after_s(ahead=self._slots)))
            else:
                return
            self._line.popleft()

    def _fits(self, need_bytes: int, capacity: int) -> bool:
        return self._running < self._slots and self._reserved + need_bytes <= capacity

    def _take(self, need_bytes: int) -> None:
        self._running += 1
        self._reserved += need_bytes

    def _leave(self, need_bytes: int) -> None:
        self._running -= 1
        self._reserved -= need_bytes
        self._let_in()

    def _capacity(self) -> int:
        free = self._budget()
        if not self._running:
            self._idle_bytes = free
            self._most_bytes = max(self._most_bytes, free)
        return min(self._idle_bytes, free + self._reserved)
