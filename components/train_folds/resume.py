"""Where a fold's training begins: at its newest checkpoint that verifies, here or in the store, or at first weights."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.train_folds.candidate import STEP, Candidate
from spine import progress
from spine.settings import settings

if TYPE_CHECKING:
    from spine.nnunet.checkpoint_sync import CheckpointStore
    from spine.nnunet.ranks import Rank
    from spine.nnunet.trainer import SpineTrainer

_LOG = logging.getLogger(__name__)


def open_store(candidate: Candidate, fold: int) -> "CheckpointStore | None":
    """Open the store that keeps copies of a fold's checkpoints, where the settings name one."""
    from spine.nnunet.checkpoint_sync import CheckpointStore

    url = settings().checkpoint_store
    if not url:
        return None
    prefix = f"{candidate.folder.name}/fold_{fold}"
    return CheckpointStore(url, endpoint=settings().s3_endpoint, prefix=prefix)


def begin(
    trainer: "SpineTrainer", candidate: Candidate, *, rank: "Rank", store: "CheckpointStore | None"
) -> str | None:
    """Give a trainer its first weights, then all of its newest checkpoint; return the digest of the first weights.

    A checkpoint that does not verify is told and passed over; one of another training is refused.
    """
    from spine.nnunet import checkpoints
    from spine.nnunet.continuation import begin_from, resume

    started_from = None
    if candidate.start_from:
        started_from = candidate.start_from.fold_digest(trainer.fold)
        begin_from(trainer, checkpoints.load(candidate.start_from.fold_path(trainer.fold), digest=started_from))
    found = _newest(Path(trainer.output_folder), store, trainer.fold) if rank.is_first else None
    newest = rank.shared(lambda: (found.path, found.digest) if found else None)
    if newest:
        path, digest = newest
        resume(trainer, found.content if found else checkpoints.load(path, digest=digest), path=path)
        _LOG.info("fold %d: continued from %s", trainer.fold, path.name)
    return started_from


@dataclass(frozen=True)
class _Found:
    """A checkpoint that verifies, and what it holds: it was read to know that it can be."""

    path: Path
    digest: str
    content: dict[str, Any]


def _newest(folder: Path, store: "CheckpointStore | None", fold: int) -> _Found | None:
    """Return the newest checkpoint, here or in the store, that verifies and can be read."""
    from spine.nnunet import checkpoint_files, checkpoints
    from spine.nnunet.checkpoint_sync import clear_unsent, fetch_newer

    def passed_over(reason: str) -> None:
        _tell(fold, f"passed over: {reason}")

    clear_unsent(folder)
    if store:
        _tell(fold, f"in {settings().checkpoint_store}, too")
    while True:
        newest = checkpoint_files.newest_verified(folder, on_rejected=passed_over)
        if store:
            newest = fetch_newer(store, folder, than=newest[0] if newest else None, on_rejected=passed_over) or newest
        if newest is None:
            return None
        path, digest = newest
        try:
            return _Found(path, digest, checkpoints.load(path, digest=digest))
        except checkpoints.UnreadableCheckpointError as error:
            passed_over(str(error))
            checkpoint_files.reject(path)
            if store:
                store.discard(path.name)


def _tell(fold: int, note: str) -> None:
    _LOG.info("fold %d: look for a checkpoint, %s", fold, note)
    progress.report(STEP, f"fold {fold}, look for a checkpoint", done=0, total=1, note=note)
