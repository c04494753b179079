"""Journals: what a run of training tells, one line of JSON an entry, on disk until a tracking server has it."""

import contextlib
import fcntl
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from spine.storage import strict_json
from spine.values import Value

JOURNAL_FILE = "journal.jsonl"
"""Name of a fold's journal in the fold's folder, and of the candidate's own in the candidate's."""

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
_LOG = logging.getLogger(__name__)


class Entry(Value):
    """One line of a journal: any of parameters, metrics at a step, tags, and a status."""

    time_s: float
    """Unix time at which it was told."""
    parameters: dict[str, str] = Field(default_factory=dict)
    step: int = 0
    metrics: dict[str, float] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    status: Status | None = None

    @classmethod
    def now(cls, **content: Any) -> Self:
        """Make an entry of this moment."""
        return cls(time_s=time.time(), **content)


class Journal:
    """Appends entries to one file in well under a millisecond; never raises, since training must go on.

    A killed writer loses at most the line that it was writing. Several processes may write to one journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def parameters(self, values: Mapping[str, str]) -> None:
        """Tell what the run was started with."""
        self._append({"parameters": {name: str(value) for name, value in values.items()}})

    def metrics(self, values: Mapping[str, float | None], *, step: int) -> None:
        """Tell values of one step (an epoch, from 1); those that are None, NaN or infinite are left out."""
        finite = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
        if finite:
            self._append({"metrics": finite, "step": step})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tell what may change later: the newest value of a tag counts."""
        self._append({"tags": {name: str(value) for name, value in values.items()}})

    def status(self, status: Status) -> None:
        """Tell that the run goes on, or how it ended."""
        self._append({"status": status})

    def _append(self, content: Mapping[str, Any]) -> None:
        line = strict_json({"time_s": time.time(), **content}).encode(errors="replace") + b"\n"
        try:
            written = _append_whole(self.path, line)
        except OSError as error:
            _LOG.warning("%s: an entry of the journal is lost: %s", self.path, error.strerror or error)
            return
        if not written:
            _LOG.warning("%s: an entry of the journal is lost: it was written in part", self.path)


class JournalReader:
    """Iterates over the entries behind ``offset`` bytes of a journal, each with the offset behind it.

    A line without its end may still be in the writing and is left for the next reader; a line that was torn by a
    kill and followed by others is passed over. A journal that is not there yet has no entries.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path, self._offset = path, offset

    def __iter__(self) -> Iterator[tuple[Entry, int]]:
        if not self._path.is_file():
            return
        offset = self._offset
        with self._path.open("rb") as stream:
            stream.seek(offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                with contextlib.suppress(ValidationError):
                    yield Entry.model_validate_json(line), offset


def last_status(path: Path) -> Status | None:
    """Return the newest status of a journal, or None where it has none."""
    if not path.is_file():
        return None
    for line in reversed(path.read_bytes().splitlines()):
        if b'"status"' in line:  # a journal has thousands of lines without
            with contextlib.suppress(ValidationError):
                status = Entry.model_validate_json(line).status
                if status:
                    return status
    return None


def end_journal(path: Path, status: Status) -> bool:
    """Append the end of a run whose process could not, where the journal says RUNNING; return whether it did."""
    if last_status(path) != "RUNNING":
        return False
    Journal(path).status(status)
    return True


def _append_whole(path: Path, line: bytes) -> bool:
    """Append a line in one write, behind the end of a line; return whether all of it was written."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        # On a network file system, appending from two machines is only safe under a lock; some have none.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        return os.write(handle, line) == len(line)
    finally:
        os.close(handle)
