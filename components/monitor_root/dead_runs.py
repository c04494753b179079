"""MLflow runs of trainings that died: found by heartbeats that stopped, and ended."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.run_endings import candidate_folder, candidate_status, fold_folders, fold_status
from spine.heartbeat import HEARTBEAT_FILE, HeartbeatWatch
from spine.journal import JOURNAL_FILE, Status

if TYPE_CHECKING:
    from model_registry.mlflow_runs import RunningRun
    from model_registry.mlflow_store import MlflowStore


@dataclass(frozen=True)
class _Group:
    """RUNNING runs of one candidate in MLflow."""

    folder: Path
    candidate_run: str | None
    fold_runs: Mapping[int, str]


class DeadRuns:
    """Runs whose training has not rewritten its heartbeat, nor its journal, for ``dead_after_s`` by this clock."""

    def __init__(self, root: Path, *, dead_after_s: float) -> None:
        self._root, self._dead_after_s = root, dead_after_s
        self._watch = HeartbeatWatch()

    def end(self, store: "MlflowStore", *, time_s: float) -> dict[str, Status]:
        """End the runs of dead trainings in MLflow, and return each with its status; the root is only read.

        Runs of candidates that are not below the root are left alone. Raises TrackingError.
        """
        ended: dict[str, Status] = {}
        for group in self._groups(store):
            for run_id, status in self._dead(group):
                store.set_status(run_id, status, time_s=time_s)
                ended[run_id] = status
        return ended

    def _groups(self, store: "MlflowStore") -> Iterator[_Group]:
        runs: dict[str, list[RunningRun]] = {}
        for run in store.running():
            candidate = run.candidate or (store.candidate_of(run.parent) if run.parent else None)
            if candidate:
                runs.setdefault(candidate, []).append(run)
        for name, found in runs.items():
            folder = candidate_folder(self._root, name)
            if folder:
                yield _Group(
                    folder=folder,
                    candidate_run=next((run.run_id for run in found if run.candidate), None),
                    fold_runs={run.fold: run.run_id for run in found if run.fold is not None},
                )

    def _dead(self, group: _Group) -> Iterator[tuple[str, Status]]:
        folds = fold_folders(group.folder)
        alive = {number for number, folder in folds.items() if not self._is_silent(folder)}
        is_silent = self._is_silent(group.folder)
        for number, run_id in group.fold_runs.items():
            if number in folds and number not in alive:
                yield run_id, fold_status(folds[number])
        if group.candidate_run and folds and not alive and is_silent:
            status = candidate_status(group.folder)
            if status:
                yield group.candidate_run, status

    def _is_silent(self, folder: Path) -> bool:
        return self._watch.silent_s(folder / HEARTBEAT_FILE, folder / JOURNAL_FILE) >= self._dead_after_s
