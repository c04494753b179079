"""Live tracking: what lies in the journals of a candidate's folds is brought to MLflow while training goes on.

Training only appends to journals. How much of a journal MLflow has is remembered beside it, so that any process may
go on from there: after a kill, after hours without a server, and from another machine on the same folder.
"""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import Field

from model_registry.errors import NoTrackingLibraryError, RegistryError
from spine.errors import MalformedFileError, MissingPathError
from spine.journal import JOURNAL_FILE, Entry, Journal, JournalReader
from spine.records import FoldCheckpoint
from spine.settings import Settings
from spine.storage import read_json, write_json
from spine.values import Value

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore

STATE_FILE, LOCK_FILE = "tracking.json", "tracking.lock"
_METRICS_A_BATCH = 1000
_LONGEST_PAUSE_S, _LOCK_PATIENCE_S, _CLOSING_S = 30.0, 60.0, 10.0
_LOG = logging.getLogger(__name__)


class BusyJournalError(RegistryError):
    """Another process has been delivering a journal for too long."""

    def __init__(self, folder: Path, *, waited_s: float) -> None:
        super().__init__(f"{folder / LOCK_FILE}: held by another process; expected to have it within {waited_s:g} s")


class Delivered(Value):
    """How much of a journal MLflow has."""

    run_id: str = ""
    parent: str = ""
    offset: int = 0
    steps: dict[str, int] = Field(default_factory=dict)
    """Last step by name of a metric: an epoch that is trained again after a kill is not drawn twice."""


def open_store(root: Path, services: Settings) -> "MlflowStore":
    """Open MLflow as the settings name it; files of runs lie below ``root`` where no server keeps them.

    Raises NoTrackingLibraryError.
    """
    try:
        from model_registry.mlflow_store import MlflowStore
    except ModuleNotFoundError as error:
        raise NoTrackingLibraryError from error
    return MlflowStore(services.mlflow_uri, artifacts=root / "mlflow" / "artifacts", model_name=services.model_name)


def candidate_folder_of(root: Path, record: FoldCheckpoint) -> Path:
    """Return the folder of the candidate that a fold belongs to: three above the fold's, as nnU-Net lays them out."""
    return (root / record.folder).parents[2]


def deliver(candidate_folder: Path, *, candidate_name: str, journals: Mapping[int, Path], store: "MlflowStore") -> str:
    """Bring all that the journals hold to MLflow now, and return the id of the candidate's run.

    Runs that are not there yet, or not any more, are made. Raises TrackingError where MLflow can't be reached, and
    BusyJournalError where another process is at it.
    """
    store.check()
    own = candidate_folder / JOURNAL_FILE
    parent = _ship(own, store, find_run=lambda: store.candidate_run(candidate_folder.name, name=candidate_name))
    for fold, path in journals.items():
        if path.is_file():
            _ship(path, store, find_run=partial(store.fold_run, parent, fold=fold), parent=parent)
    return parent


def is_delivered(journal: Path) -> bool:
    """Tell whether MLflow has all that a journal holds."""
    return not _pending(journal)


class LiveTracking:
    """Delivers journals from a daemon thread every ``period_s``; whatever fails is tried again, up to 30 s apart.

    ``journals`` are those of the folds by number; the candidate's own lies in its folder. Nothing here raises into
    training or holds it up: MLflow is imported, and ``open_store`` called, in the thread alone.
    """

    def __init__(
        self,
        candidate_folder: Path,
        *,
        candidate_name: str,
        journals: Mapping[int, Path],
        open_store: Callable[[], "MlflowStore"],
        period_s: float = 2.0,
    ) -> None:
        self._folder, self._name, self._journals = candidate_folder, candidate_name, dict(journals)
        self._open_store, self._period_s = open_store, period_s
        self._store: MlflowStore | None = None
        self._failures = 0
        self._closing, self._deadline = threading.Event(), float("inf")
        self._thread = threading.Thread(target=self._work, name="live tracking", daemon=True)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        Journal(self._folder / JOURNAL_FILE).status("RUNNING")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closing.is_set():
            self.close(_CLOSING_S)

    def close(self, deadline_s: float) -> int:
        """Deliver what is left for at most ``deadline_s``; return how many entries are still on disk only."""
        self._deadline = time.monotonic() + deadline_s
        self._closing.set()
        self._thread.join(deadline_s)
        left = self._pending()
        if left:
            _LOG.warning("%d entries are not in MLflow yet; their journals are delivered later", left)
        return left

    def _work(self) -> None:
        while True:
            is_last = self._closing.is_set()
            is_delivered = self._round()
            if time.monotonic() >= self._deadline or (is_last and is_delivered):
                return
            if not is_last:
                self._closing.wait(self._pause_s())
            elif not is_delivered:
                time.sleep(min(1.0, self._pause_s()))

    def _pause_s(self) -> float:
        return min(2.0 ** (self._failures - 1), _LONGEST_PAUSE_S) if self._failures else self._period_s

    def _round(self) -> bool:
        try:
            self._deliver()
        except Exception as error:
            self._failures += 1
            if self._failures == 1:
                _LOG.warning("tracking waits, training goes on: %s", error)
            return False
        if self._failures:
            _LOG.info("tracking goes on after %d attempts", self._failures)
        self._failures = 0
        return True

    def _deliver(self) -> None:
        if self._pending():
            self._store = self._store or self._open_store()
            deliver(self._folder, candidate_name=self._name, journals=self._journals, store=self._store)

    def _pending(self) -> int:
        return sum(_pending(path) for path in (self._folder / JOURNAL_FILE, *self._journals.values()))


def _ship(path: Path, store: "MlflowStore", *, find_run: Callable[[], str], parent: str = "") -> str:
    """Bring a journal's new entries to its run, which is made where it is not there (any more); return its id."""
    with _locked(path.parent):
        state = _remembered(path)
        if not state.run_id or state.parent != parent or not store.is_active(state.run_id):
            state = Delivered(run_id=find_run(), parent=parent)
            write_json(path.parent / STATE_FILE, state.model_dump())
        for entries, offset in _batches(path, state.offset):
            fresh, steps = _without_repeats(entries, state.steps)
            store.send(state.run_id, fresh)
            state = Delivered(run_id=state.run_id, parent=parent, offset=offset, steps=steps)
            write_json(path.parent / STATE_FILE, state.model_dump())
    return state.run_id


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    with (folder / LOCK_FILE).open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise BusyJournalError(folder, waited_s=_LOCK_PATIENCE_S) from error
                time.sleep(0.05)
        yield


def _remembered(path: Path) -> Delivered:
    """Return how much of a journal MLflow has; nothing where that can't be read, as sending again does no harm."""
    state = path.parent / STATE_FILE
    try:
        return Delivered.parse(read_json(state, expected="what was delivered"), where=state)
    except (MissingPathError, MalformedFileError):
        return Delivered()


def _pending(path: Path) -> int:
    return sum(1 for _ in JournalReader(path, _remembered(path).offset))


def _batches(path: Path, offset: int) -> Iterator[tuple[list[Entry], int]]:
    """Yield entries in lots of about a thousand metrics, each with the offset behind it."""
    entries: list[Entry] = []
    for entry, end in JournalReader(path, offset):
        entries.append(entry)
        offset = end
        if sum(len(known.metrics) for known in entries) >= _METRICS_A_BATCH:
            yield entries, offset
            entries = []
    if entries:
        yield entries, offset


def _without_repeats(entries: list[Entry], steps: Mapping[str, int]) -> tuple[list[Entry], dict[str, int]]:
    """Return the entries without metrics of a step that is no newer than the metric's last, and the new last steps."""
    last = dict(steps)
    fresh = []
    for entry in entries:
        metrics = {name: value for name, value in entry.metrics.items() if entry.step > last.get(name, entry.step - 1)}
        last.update(dict.fromkeys(metrics, entry.step))
        fresh.append(entry.model_copy(update={"metrics": metrics}))
    return fresh, last
