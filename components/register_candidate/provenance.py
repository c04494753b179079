"""Where a candidate comes from, read out of what its training told: code, images, runs and the time."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from model_registry.provenance import UNKNOWN, Provenance
from model_registry.tracking import candidate_folder_of
from spine.journal import JOURNAL_FILE, Entry, JournalReader
from spine.records import DatasetRevision, FoldCheckpoint

_NO_IMAGE = "none"


def provenance(
    root: Path,
    *,
    dataset: DatasetRevision,
    checkpoints: Sequence[FoldCheckpoint],
    run: str,
    fold_runs: dict[int, str],
    image: str | None,
) -> Provenance:
    """Return where a candidate below ``root`` comes from; ``image`` is that of this step."""
    message: dict[str, str] = {}
    for entry in _entries(candidate_folder_of(root, checkpoints[0])):
        message.update(entry.parameters)
    images = {"train_folds": message.get("image", _NO_IMAGE), "register_candidate": image or _NO_IMAGE}
    folds = {record.fold for record in checkpoints}
    return Provenance(
        code_revision=message.get("code_revision", UNKNOWN),
        images={step: name for step, name in images.items() if name != _NO_IMAGE},
        git_revision=dataset.git_revision,
        dvc_hash=dataset.dvc_hash,
        run=run,
        fold_runs={fold: fold_run for fold, fold_run in sorted(fold_runs.items()) if fold in folds},
    )


def trained_at(root: Path, checkpoints: Sequence[FoldCheckpoint]) -> datetime:
    """Return when the last fold's journal ends, in whole seconds; the Unix epoch where none was kept."""
    times = (entry.time_s for record in checkpoints for entry in _entries(root / record.folder))
    return datetime.fromtimestamp(int(max(times, default=0.0)), UTC)


def _entries(folder: Path) -> Iterable[Entry]:
    return (entry for entry, _ in JournalReader(folder / JOURNAL_FILE))
