"""Where the lines of the audit log go: files of bounded size in one folder, or stdout."""

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from components.serve_model.limits import MIB

_LOG = logging.getLogger(__name__)
_NAME = "audit.jsonl"
_LIMIT_BYTES = 64 * MIB
_KEPT = 16
"""Full files that are kept; the oldest beyond them are removed."""


class AuditFile:
    """``audit.jsonl`` in a folder; a full file is renamed by its time. Several servers may write to one folder.

    A line that can't be written is counted by ``on_lost`` and told once, and never fails the request.
    """

    def __init__(
        self, folder: Path, *, on_lost: Callable[[], None], limit_bytes: int = _LIMIT_BYTES, kept: int = _KEPT
    ) -> None:
        self._folder, self._on_lost = folder, on_lost
        self._limit_bytes, self._kept = limit_bytes, kept
        self._path = folder / _NAME
        self._handle: int | None = None
        self._is_torn = False
        self._is_failing = False

    def write(self, line: str) -> None:
        """Append one line."""
        try:
            handle = self._open()
            # What a full disk cut off is ended first, so that it spoils no other line.
            content = (b"\n" if self._is_torn else b"") + line.encode() + b"\n"
            written = os.write(handle, content)
            self._is_torn = written < len(content)
            if self._is_torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failed(error)
            return
        self._is_failing = False

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        """Return the handle of the file that has the name now, after renaming a full one."""
        if self._handle is not None and self._is_current(self._handle):
            if os.fstat(self._handle).st_size < self._limit_bytes:
                return self._handle
            self._rotate(self._handle)
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(self._handle).st_size
        self._is_torn = size > 0 and os.pread(self._handle, 1, size - 1) != b"\n"
        return self._handle

    def _is_current(self, handle: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(handle))
        except FileNotFoundError:
            return False

    def _rotate(self, handle: int) -> None:
        # The lock is on the full file itself: who waited for it finds that the name has moved on.
        fcntl.flock(handle, fcntl.LOCK_EX)
        if self._is_current(handle):
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            self._path.rename(self._path.with_name(f"audit-{now}.jsonl"))
        for old in sorted(self._folder.glob("audit-*.jsonl"))[: -self._kept]:
            old.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> None:
        self._on_lost()
        if not self._is_failing:
            _LOG.error("the audit log can't be written, requests go on without: %s", error.strerror)
        self._is_failing = True


class AuditStdout:
    """Lines to stdout, where a cluster collects them; one that can't be written is counted."""

    def __init__(self, *, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    def write(self, line: str) -> None:
        """Write one line."""
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except OSError:
            self._on_lost()

    def close(self) -> None:
        """Leave stdout to the program."""
