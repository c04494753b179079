"""The end of MLflow runs whose training was stopped, failed or died: nothing else ends a run of a killed process."""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from model_registry.tracking import deliver, is_delivered, open_store
from spine.errors import SpinelineError
from spine.heartbeat import HEARTBEAT_FILE
from spine.journal import JOURNAL_FILE, JournalReader, Status, end_journal, last_status
from spine.locks import is_free
from spine.settings import Settings

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore

_CANDIDATE = re.compile(r"[0-9a-f]{12}")
_FOLD = re.compile(r"fold_([0-4])")
_LOG = logging.getLogger(__name__)


def end_runs(store: "MlflowStore", *, kubeflow_run: str, status: Literal["KILLED", "FAILED"]) -> list[str]:
    """End every MLflow run, of candidates and of their folds, that ``kubeflow_run`` trained last and is RUNNING.

    Returns the ids of the runs that were ended; a second call finds none. Runs that ended otherwise keep their
    status. A training that continues later returns its runs to RUNNING. Raises TrackingError where MLflow cannot
    be reached.
    """
    store.check()
    ended = [run.run_id for run in store.running(kubeflow_run=kubeflow_run)]
    for run_id in ended:
        store.set_status(run_id, status, time_s=time.time())
    return ended


def end_dead_trainings(root: Path, services: Settings) -> list[str]:
    """End the trainings below a root of this machine whose processes died, in their journals and in MLflow.

    Only for a root that no other machine trains in: a training is dead where nobody holds the lock of its folds.
    Returns the candidates that were ended. What MLflow does not take is a warning, and is delivered later.
    """
    ended, undelivered = [], {}
    for folder in candidate_folders(root):
        folds = fold_folders(folder)
        if not all(is_free(fold) for fold in folds.values()):
            continue
        journals = {number: fold / JOURNAL_FILE for number, fold in folds.items()}
        dead = [end_journal(path, "KILLED") for path in journals.values()]
        if end_journal(folder / JOURNAL_FILE, candidate_status(folder) or "KILLED") or any(dead):
            ended.append(folder.name)
        if not all(is_delivered(path) for path in (folder / JOURNAL_FILE, *journals.values())):
            undelivered[folder] = journals
    try:
        _deliver(root, undelivered, services)
    except SpinelineError as error:
        _LOG.warning("the end of earlier trainings is not in MLflow: %s", error)
    return ended


def candidate_folder(root: Path, name: str) -> Path | None:
    """Return the folder of a candidate by its name in MLflow, or None where it is not below the root."""
    folder = root / "candidates" / name
    return folder if _CANDIDATE.fullmatch(name) and folder.is_dir() else None


def candidate_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of all candidates below a root."""
    folder = root / "candidates"
    if folder.is_dir():
        yield from (each for each in sorted(folder.iterdir()) if _CANDIDATE.fullmatch(each.name))


def fold_folders(candidate: Path) -> dict[int, Path]:
    """Return the folders of a candidate's folds in which training has begun, by fold."""
    begun = {file.parent for name in (JOURNAL_FILE, HEARTBEAT_FILE) for file in candidate.glob(f"*/*/fold_*/{name}")}
    return {int(found[1]): folder for folder in sorted(begun) if (found := _FOLD.fullmatch(folder.name))}


def fold_status(fold: Path) -> Status:
    """Return how the training of a fold without a live process ended: by its journal, else KILLED."""
    status = last_status(fold / JOURNAL_FILE)
    return "KILLED" if status in (None, "RUNNING") else status


def candidate_status(candidate: Path) -> Status | None:
    """Return how the training of a candidate without a live process ended.

    None where folds that it still needs have not begun: they may wait for a machine.
    """
    own = last_status(candidate / JOURNAL_FILE)
    if own not in (None, "RUNNING"):
        return own
    statuses = {number: fold_status(folder) for number, folder in fold_folders(candidate).items()}
    found = set(statuses.values())
    if "FAILED" in found:
        return "FAILED"
    if "KILLED" in found:
        return "KILLED"
    needed = _needed_folds(candidate)
    return "FINISHED" if needed and needed <= set(statuses) else None


def _needed_folds(candidate: Path) -> set[int]:
    message = _parameters(candidate).get("training.folds", "")
    return {int(fold) for fold in re.findall(r"\d", message)}


def _parameters(candidate: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry, _ in JournalReader(candidate / JOURNAL_FILE):
        found |= entry.parameters
    return found


def _deliver(root: Path, candidates: Mapping[Path, Mapping[int, Path]], services: Settings) -> None:
    if not candidates:
        return
    store = open_store(root, services)
    for folder, journals in candidates.items():
        name = f"{_parameters(folder).get('recipe', 'candidate')} {folder.name}"
        deliver(folder, candidate_name=name, journals=journals, store=store)
