"""The process that trains one fold: ``python -m components.train_folds.fold``, started by the group."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.train_folds.candidate import STEP, Candidate
from components.train_folds.resume import begin, open_store
from components.train_folds.stopping import TrainingInterruptedError, stop_on_signals
from components.train_folds.watch import FoldWatch
from components.train_folds.worker import end_with_parent
from model_registry.lifecycle import Registry
from spine import progress
from spine.arguments import Arguments
from spine.journal import Status
from spine.locks import held
from spine.log_lines import identify
from spine.logs import run_program
from spine.nnunet.workspace import PLANS_NAME
from spine.recipe import TrainingRecipe
from spine.records import RECORD_FILE, FoldCheckpoint, Plan
from spine.settings import settings
from spine.storage import read_json

if TYPE_CHECKING:
    from spine.nnunet.checkpoint_sync import CheckpointStore
    from spine.nnunet.ranks import Rank
    from spine.nnunet.trainer import Hooks, SpineTrainer

_LOG = logging.getLogger(__name__)
_WAIT_DONE_S, _WAIT_STOPPED_S, _WAIT_IN_USE_S = 600.0, 60.0, 180.0


def train_fold(candidate: Candidate, fold: int, *, stop: threading.Event) -> FoldCheckpoint:
    """Train a fold to its end, from wherever it is, and return its record; a fold that is done is found again.

    Raises TrainingInterruptedError when ``stop`` was set, a checkpoint written, and the rest left for later.
    """
    # Batches are made by workers of our own, not by nnU-Net's.
    candidate.workspace.activate(augmentation_workers=0)
    import torch

    from spine.nnunet import ranks

    torch.set_num_threads(settings().training_threads or settings().cpu_threads)
    folder = candidate.fold_folder(fold)
    with ranks.joined() as rank, _kept_to_us(folder, fold, rank, stop):
        known = rank.shared(lambda: candidate.record(fold))
        if known:
            return known
        store = open_store(candidate, fold)
        trainer = _build(candidate, fold, rank, stop)
        started_from = begin(trainer, candidate, rank=rank, store=store)
        _train(trainer, candidate, rank, store)
        return rank.shared(lambda: _recorded(trainer, candidate, started_from))


def _kept_to_us(folder: Path, fold: int, rank: "Rank", stop: threading.Event) -> AbstractContextManager[None]:
    """Keep a fold to this process; where ranks train together, to the first of them."""
    if not rank.is_first:
        return nullcontext()

    def report_wait(note: str) -> None:
        progress.report(STEP, f"fold {fold}, wait", done=0, total=1, note=note)

    return held(folder, wait_s=_WAIT_IN_USE_S, on_wait=report_wait, stop=stop)


def _build(candidate: Candidate, fold: int, rank: "Rank", stop: threading.Event) -> "SpineTrainer":
    from spine.nnunet.trainer import Hooks, build_trainer

    planned = candidate.workspace.dataset
    return build_trainer(
        plans=read_json(planned / f"{PLANS_NAME}.json", expected="nnU-Net plans"),
        dataset_json=read_json(planned / "dataset.json", expected="nnU-Net's dataset.json"),
        configuration=candidate.plan.configuration,
        fold=fold,
        recipe=candidate.recipe,
        plan=candidate.plan.digest,
        device=rank.device,
        hooks=Hooks(stop=stop),
    )


def _train(trainer: "SpineTrainer", candidate: Candidate, rank: "Rank", store: "CheckpointStore | None") -> None:
    from spine.nnunet.sanity import forecast
    from spine.nnunet.trainer import TrainingStoppedError

    if not rank.is_first:
        # What is tried before the start takes all ranks.
        trainer.hooks = replace(trainer.hooks, on_start=lambda: forecast(trainer))
        trainer.run_training()
        return
    watch = FoldWatch(Path(trainer.output_folder), candidate=candidate.folder.name, trainer=trainer)
    status: Status = "FAILED"
    try:
        with _copied(store) as copy:
            trainer.hooks = _hooks(trainer.hooks, watch, copy)
            trainer.run_training()
        status = "FINISHED"
    except TrainingStoppedError as error:
        status = "KILLED"
        where = f"epoch {trainer.current_epoch + 1}, iteration {len(trainer.losses)}"
        raise TrainingInterruptedError(
            f"fold {trainer.fold} stopped in {where}, after a checkpoint; run again to continue"
        ) from error
    finally:
        watch.ended(status)


def _hooks(hooks: "Hooks", watch: FoldWatch, copy: Callable[[Path], None]) -> "Hooks":
    def on_checkpoint(path: Path) -> None:
        watch.checkpoint_saved()
        copy(path)

    return replace(hooks, on_start=watch.started, on_epoch=watch.epoch_ended, on_checkpoint=on_checkpoint)


@contextmanager
def _copied(store: "CheckpointStore | None") -> Iterator[Callable[[Path], None]]:
    """Yield what sends a checkpoint to the store, and wait at the end until the last one is there."""
    if store is None:
        yield lambda _: None
        return
    from spine.nnunet.checkpoint_sync import BackgroundCopies

    copies = BackgroundCopies(store)
    wait_s = _WAIT_STOPPED_S
    try:
        yield copies.send
        wait_s = _WAIT_DONE_S
    finally:
        if not copies.close(timeout_s=wait_s):
            report_wait = f"the last checkpoint is not in {settings().checkpoint_store}; it lies here"
            _LOG.warning("%s", report_wait)
            progress.report(STEP, "copies of checkpoints", done=0, total=1, note=report_wait)


def _recorded(trainer: "SpineTrainer", candidate: Candidate, started_from: str | None) -> FoldCheckpoint:
    from spine.nnunet import checkpoint_files

    folder = Path(trainer.output_folder)
    record = FoldCheckpoint(
        plan=candidate.plan.digest,
        training=candidate.recipe.digest,
        fold=trainer.fold,
        weights_sha256=checkpoint_files.sealed_digest(folder / checkpoint_files.FINAL),
        started_from=started_from,
        epochs=candidate.recipe.epochs,
        seconds=round(sum(trainer.epoch_seconds), 1),
        folder=folder.relative_to(candidate.root).as_posix(),
    )
    record.write(folder / RECORD_FILE)
    return record


def main(argv: list[str] | None = None) -> int:
    """Train one fold; its record is the last line of stdout."""

    def work() -> str:
        parser = Arguments(prog="python -m components.train_folds.fold", description=__doc__)
        parser.add_argument("--root", required=True, type=Path, help="shared root")
        parser.add_argument("--plan", required=True, help="the plan's record")
        parser.add_argument("--training", required=True, help="the recipe's training section, as JSON")
        parser.add_argument("--fold", required=True, type=int, choices=range(5), help="number of the fold")
        parser.add_argument("--start-from", type=int, default=0, help="version whose weights training begins with")
        given = parser.parse_args(argv)
        identify(fold=given.fold)
        candidate = Candidate(
            root=given.root,
            plan=Plan.from_text(given.plan, where="plan"),
            recipe=TrainingRecipe.from_json(given.training, where="training"),
            start_from=Registry.at(given.root, settings()).verified_bundle(given.start_from)
            if given.start_from
            else None,
        )
        return train_fold(candidate, given.fold, stop=stop).text()

    with stop_on_signals() as stop:
        end_with_parent()
        return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
