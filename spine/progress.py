"""Progress of long work, told by steps as events and shown by whoever started them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from spine.log_lines import current_fold
from spine.logs import say
from spine.settings import settings


class ProgressEvent(BaseModel):
    """One thing that moved: ``done`` of ``total`` units of ``task`` within ``step``."""

    model_config = ConfigDict(frozen=True)

    step: str
    task: str
    done: float
    total: float
    note: str = ""
    at: float
    fold: int | None = None
    """Fold that it is about, where the process that tells it works for one."""


_followers: list[Callable[[ProgressEvent], None]] = []


@contextmanager
def followed(show: Callable[[ProgressEvent], None]) -> Iterator[None]:
    """Show this process's own events with ``show`` while the block runs."""
    _followers.append(show)
    try:
        yield
    finally:
        _followers.remove(show)


def report(step: str, task: str, *, done: float, total: float, note: str = "") -> None:
    """Append an event to the progress file that the run reads, or tell it on stderr where there is none."""
    event = ProgressEvent(step=step, task=task, done=done, total=total, note=note, at=time.time(), fold=current_fold())
    if _followers:
        for show in _followers:
            show(event)
        return
    path = settings().progress_file
    if path is None:
        say(f"{step}: {task} {done:g}/{total:g} {note}".rstrip())
        return
    # One short line in append mode is written as a whole, so folds may report side by side.
    with path.open("a", encoding="utf-8") as stream:
        stream.write(event.model_dump_json() + "\n")


class ProgressReader:
    """Reads the events that were appended since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_events(self) -> Iterator[ProgressEvent]:
        """Yield events not yet seen; an unfinished last line is left for the next look."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield ProgressEvent.model_validate(json.loads(line))
