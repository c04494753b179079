"""Train a group of folds, each continued from its newest checkpoint that verifies."""

import argparse
import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from spine import progress
from spine.errors import InvalidValueError, SpinelineError
from spine.logs import INTERRUPTED, run_program
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME, Workspace
from spine.recipe import TrainingRecipe, given_recipe
from spine.records import RECORD_FILE, FoldCheckpoint, Plan
from spine.settings import settings
from spine.steps import run_step
from spine.storage import digest_value, read_json, short, write_json

if TYPE_CHECKING:
    from spine.nnunet.trainer import SpineTrainer

STEP = "train_folds"
HISTORY_FILE = "history.json"


class TrainingInterruptedError(SpinelineError):
    """Training was stopped by a signal; run again, it continues from its last checkpoint."""

    exit_code = INTERRUPTED


@dataclass(frozen=True)
class Candidate:
    """One training of one plan: where its folds lie and what they begin with."""

    root: Path
    plan: Plan
    recipe: TrainingRecipe
    start_from: Bundle | None

    @property
    def folder(self) -> Path:
        """Folder of the candidate, keyed by plan, recipe and starting weights."""
        begun = self.start_from.digest if self.start_from else None
        # Which folds are asked for does not change what one fold is.
        recipe = {**self.recipe.model_dump(mode="json"), "folds": None}
        key = digest_value({"plan": self.plan.digest, "training": recipe, "start_from": begun})
        return self.root / "candidates" / short(key)


def train_folds(
    *, root: Path, plan: Plan, recipe: TrainingRecipe, folds: Sequence[int], start_from: Bundle | None = None
) -> list[FoldCheckpoint]:
    """Train ``folds`` one after the other and return their records; a fold that is done is found again.

    ``start_from`` is a registered version of the same plan whose weights each fold begins with: another plan's
    may have seen this one's validation and test cases, and is refused.
    """
    if start_from and start_from.manifest.plan != plan.digest:
        raise InvalidValueError(
            "plan of the version to start from", short(start_from.manifest.plan), expected=short(plan.digest)
        )
    candidate = Candidate(root=root, plan=plan, recipe=recipe, start_from=start_from)
    workspace = Workspace.below(root / plan.folder, results=candidate.folder)
    workspace.activate(augmentation_workers=recipe.augmentation_workers)
    with _stop_on_signals() as stop:
        return [_train_fold(candidate, workspace, fold, stop) for fold in folds]


def _train_fold(candidate: Candidate, workspace: Workspace, fold: int, stop: threading.Event) -> FoldCheckpoint:
    folder = candidate.folder / DATASET_NAME / f"SpineTrainer__{PLANS_NAME}__{candidate.plan.configuration}"
    folder /= f"fold_{fold}"
    record_file = folder / RECORD_FILE
    if record_file.is_file():
        return FoldCheckpoint.read(record_file)
    import torch

    from spine.nnunet import checkpoints
    from spine.nnunet.segmentation import best_device
    from spine.nnunet.trainer import EpochReport, TrainingStoppedError, build_trainer

    torch.set_num_threads(settings().training_threads or settings().cpu_threads)
    began = time.monotonic()

    def on_epoch(epoch: EpochReport) -> None:
        note = f"loss {epoch.train_loss:.2f}, pseudo-Dice {epoch.pseudo_dice:.2f}, {epoch.seconds:.0f} s an epoch"
        progress.report(STEP, f"fold {fold}, epoch", done=epoch.epoch, total=epoch.epochs, note=note)

    plans = read_json(workspace.dataset / f"{PLANS_NAME}.json", expected="nnU-Net plans")
    trainer = build_trainer(
        plans=plans,
        dataset_json=read_json(workspace.dataset / "dataset.json", expected="nnU-Net's dataset.json"),
        configuration=candidate.plan.configuration,
        fold=fold,
        recipe=candidate.recipe,
        device=best_device(),
        on_epoch=on_epoch,
        stop=stop,
    )
    started_from = _begin(trainer, candidate, fold, folder)
    try:
        trainer.run_training()
    except TrainingStoppedError as error:
        raise TrainingInterruptedError(
            f"fold {fold} stopped after epoch {trainer.current_epoch}; run again to continue"
        ) from error
    checkpoints.drop_periodic(folder)
    final = folder / checkpoints.FINAL
    write_json(folder / HISTORY_FILE, trainer.history())
    record = FoldCheckpoint(
        plan=candidate.plan.digest,
        training=candidate.recipe.digest,
        fold=fold,
        weights_sha256=checkpoints.sealed_digest(final),
        started_from=started_from,
        epochs=candidate.recipe.epochs,
        seconds=round(time.monotonic() - began, 1),
        folder=folder.relative_to(candidate.root).as_posix(),
    )
    record.write(record_file)
    return record


def _begin(trainer: "SpineTrainer", candidate: Candidate, fold: int, folder: Path) -> str | None:
    """Give the trainer its first weights, then those of its newest checkpoint; return the digest of the first."""
    from spine.nnunet import checkpoints

    started_from = None
    if candidate.start_from:
        started_from = candidate.start_from.fold_digest(fold)
        trainer.begin_from(checkpoints.load(candidate.start_from.fold_path(fold), digest=started_from))
    newest = checkpoints.newest_verified(folder)
    if newest:
        trainer.resume(checkpoints.load(newest[0], digest=newest[1]))
    return started_from


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event that the trainer looks at between iterations."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def parse_folds(text: str) -> list[int]:
    """Parse a JSON list of folds such as ``[0, 1]``."""
    try:
        folds = json.loads(text)
    except ValueError:
        folds = None
    is_list = isinstance(folds, list) and 0 < len(folds) == len(set(map(str, folds)))
    if not is_list or any(type(fold) is not int or fold not in range(5) for fold in folds):
        raise InvalidValueError("folds", text, expected="a JSON list of folds 0-4, such as [0, 1]")
    return list(folds)


def step(*, root: str, plan: str, recipe: str, folds: str, start_from: int) -> str:
    """Do the work of the pipeline's step; ``start_from`` is a model version, 0 for random weights."""

    def work() -> str:
        records = train_folds(
            root=Path(root),
            plan=Plan.from_text(plan, where="plan"),
            recipe=given_recipe(recipe).training,
            folds=parse_folds(folds),
            start_from=Registry(Path(root)).verified_bundle(start_from) if start_from else None,
        )
        return json.dumps([record.text() for record in records])

    return run_step(STEP, work)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the records are the last line of stdout, as a JSON list."""

    def work() -> str:
        parser = argparse.ArgumentParser(prog="python -m components.train_folds", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--plan", required=True, help="the plan's record, as plan_training printed it")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        parser.add_argument("--folds", default="[0]", help="JSON list of folds (default: %(default)s)")
        parser.add_argument("--start-from", type=int, default=0, help="version whose weights training begins with")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
