"""Uploads that are still on their way, by who sends them: no caller may take the room that others need."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from components.serve_model.errors import FullError, TooManyUploadsError


class Senders:
    """Lives on the event loop alone."""

    def __init__(self, *, most_uploads: int, most_bytes: int) -> None:
        self._most_uploads, self._most_bytes = most_uploads, most_bytes
        self._uploads: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def sending(self, caller: str) -> Iterator["Sender"]:
        """Count one upload of a caller until it is whole; raises TooManyUploadsError."""
        if self._uploads[caller] >= self._most_uploads:
            raise TooManyUploadsError(most=self._most_uploads)
        self._uploads[caller] += 1
        sender = Sender(self._bytes, caller, most_bytes=self._most_bytes)
        try:
            yield sender
        finally:
            self._bytes[caller] -= sender.sent_bytes
            self._uploads[caller] -= 1
            if not self._uploads[caller]:
                del self._uploads[caller], self._bytes[caller]


class Sender:
    """One upload on its way."""

    def __init__(self, of_callers: Counter[str], caller: str, *, most_bytes: int) -> None:
        self._of_callers, self._caller, self._most_bytes = of_callers, caller, most_bytes
        self.sent_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count bytes that came; raises FullError where the caller's unfinished uploads hold too many."""
        if self._of_callers[self._caller] + size_bytes > self._most_bytes:
            raise FullError
        self._of_callers[self._caller] += size_bytes
        self.sent_bytes += size_bytes
