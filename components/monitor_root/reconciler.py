"""The thread that keeps MLflow equal to the ledger and to the trainings below the root while the monitor runs."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from components.monitor_root.dead_runs import DeadRuns
from model_registry.aliases import has_mlflow
from model_registry.errors import NoTrackingLibraryError, TrackingError
from model_registry.lifecycle import Registry
from model_registry.state import replay
from model_registry.tracking import open_store
from spine.errors import SpinelineError
from spine.settings import Settings

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore
    from spine.journal import Status

_LONGEST_PAUSE_S = 30.0
_CLOSING_S = 5.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MlflowStanding:
    """State of MLflow at the last comparison; None for what is not known."""

    is_reachable: bool | None = None
    differences: tuple[str, ...] | None = None
    """Differences from the ledger that only a person can repair."""
    reconciled_at_s: float | None = None
    """When MLflow was last made, or found, equal to the ledger but for these differences."""
    failures: int = 0
    """Comparisons that failed since the monitor began."""
    ended: Mapping["Status", int] = field(default_factory=dict)
    """Runs of dead trainings that were ended since then."""


class Reconciler:
    """Compares MLflow with the ledger every ``pause_s`` and writes what differs; a failure is tried again.

    MLflow and the ledger may be unreachable at any time, also at the start: nothing ends the thread but the end of
    the block. The root is only read.
    """

    def __init__(self, root: Path, services: Settings, *, pause_s: float, dead_after_s: float) -> None:
        self._root, self._services, self._pause_s = root, services, pause_s
        self._registry = Registry.at(root, services)
        self._dead_runs = DeadRuns(root, dead_after_s=dead_after_s)
        self._store: MlflowStore | None = None
        self._standing = MlflowStanding()
        self._ended: Counter[Status] = Counter()
        self._problems: dict[str, str] = {}
        self._failed_in_a_row = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reconciler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_CLOSING_S)

    def standing(self) -> MlflowStanding | None:
        """Return the state of MLflow; None where the settings name none and no database exists."""
        return self._standing if has_mlflow(self._services) else None

    def reconcile(self) -> bool:
        """Compare and write once; return whether nothing failed."""
        if not has_mlflow(self._services):
            return True
        done = [self._attempt(part, work) for part, work in (("aliases", self._mirror), ("runs", self._end_dead_runs))]
        if not all(done):
            self._standing = replace(self._standing, failures=self._standing.failures + 1)
        return all(done)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._failed_in_a_row = 0 if self.reconcile() else self._failed_in_a_row + 1
            self._stop.wait(self._wait_s())

    def _wait_s(self) -> float:
        if not self._failed_in_a_row:
            return self._pause_s
        return min(2.0 ** min(self._failed_in_a_row, 10), _LONGEST_PAUSE_S)

    def _attempt(self, part: str, work: Callable[["MlflowStore"], None]) -> bool:
        try:
            work(self._opened())
        except (TrackingError, NoTrackingLibraryError) as error:
            self._store = None
            self._standing = replace(self._standing, is_reachable=False, differences=None)
            return self._failed(part, str(error))
        except (SpinelineError, OSError) as error:
            self._standing = replace(self._standing, differences=None)
            return self._failed(part, str(error))
        except Exception as error:
            # An unforeseen error, such as a malformed answer, must not end the thread.
            self._store = None
            _LOG.exception("%s: unexpected error", part)
            return self._failed(part, f"{type(error).__name__}: {error}")
        self._standing = replace(self._standing, is_reachable=True)
        self._problems.pop(part, None)
        return True

    def _failed(self, part: str, reason: str) -> bool:
        if self._problems.get(part) != reason:
            _LOG.warning("MLflow's %s are not reconciled, and are tried again: %s", part, reason)
        self._problems[part] = reason
        return False

    def _opened(self) -> "MlflowStore":
        if self._store is None:
            self._store = open_store(self._root, self._services)
        self._store.check()
        return self._store

    def _mirror(self, store: "MlflowStore") -> None:
        events = self._registry.history()
        differences = store.mirror(replay(events), events=events)
        for difference in set(differences) - set(self._standing.differences or ()):
            _LOG.error("MLflow differs from the ledger and cannot be repaired from here: %s", difference)
        self._standing = replace(self._standing, differences=differences, reconciled_at_s=time.time())

    def _end_dead_runs(self, store: "MlflowStore") -> None:
        for run_id, status in self._dead_runs.end(store, time_s=time.time()).items():
            _LOG.info("MLflow run %s ended as %s: its training has no live process", run_id, status)
            self._ended[status] += 1
        self._standing = replace(self._standing, ended=dict(self._ended))
