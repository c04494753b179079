"""One training of one plan: where its folds lie, what they begin with, and who is at work on them."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_registry.bundle import Bundle
from model_registry.champion import dataset_of
from spine.errors import InvalidValueError, SpinelineError
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME, Workspace
from spine.recipe import TrainingRecipe
from spine.records import RECORD_FILE, FoldCheckpoint, Plan
from spine.storage import digest_value, read_json, short

STEP = "train_folds"
LOG_FILE = "training.log"
_LOCK_FILE = ".lock"
_LOCK_WAIT_S, _POLL_S = 180.0, 0.2


class FoldInUseError(SpinelineError):
    """Another process trains the same fold."""


@dataclass(frozen=True)
class Candidate:
    """One training of one plan, keyed by all that makes its folds what they are."""

    root: Path
    plan: Plan
    recipe: TrainingRecipe
    start_from: Bundle | None

    @property
    def folder(self) -> Path:
        """Folder of the candidate, keyed by plan, recipe and starting weights."""
        begun = self.start_from.digest if self.start_from else None
        key = digest_value({"plan": self.plan.digest, "training": self.recipe.identity, "start_from": begun})
        return self.root / "candidates" / short(key)

    @property
    def workspace(self) -> Workspace:
        """nnU-Net's folders: those of the plan, and results in the candidate's own."""
        return Workspace.below(self.root / self.plan.folder, results=self.folder)

    def fold_folder(self, fold: int) -> Path:
        """Folder in which nnU-Net's trainer works on a fold."""
        model = f"SpineTrainer__{PLANS_NAME}__{self.plan.configuration}"
        return self.folder / DATASET_NAME / model / f"fold_{fold}"

    def record(self, fold: int) -> FoldCheckpoint | None:
        """Return the record of a fold that is done."""
        path = self.fold_folder(fold) / RECORD_FILE
        return FoldCheckpoint.read(path) if path.is_file() else None

    def check(self, folds: tuple[int, ...]) -> None:
        """Raise where data set or plans are not what the plan's record says, or a fold can't be begun or validated."""
        if self.plan.configuration == "3d_cascade_fullres":
            # Its second stage learns from what all folds of the first predict, and is served after the first.
            told = "2d, 3d_fullres or 3d_lowres (a cascade is planned and preprocessed, for nnUNetv2_train to train)"
            raise InvalidValueError("configuration", self.plan.configuration, expected=told)
        dataset = dataset_of(self.root, self.plan).digest
        if dataset != self.plan.dataset:
            told = f"the one in {self.plan.dataset_folder}, {short(dataset)}"
            raise InvalidValueError("data set of the plan", short(self.plan.dataset), expected=told)
        plans = self.workspace.dataset / f"{PLANS_NAME}.json"
        found = digest_value(read_json(plans, expected="the plans that plan_training wrote"))
        if found != self.plan.plans_digest:
            told = f"the plans of the record, {short(self.plan.plans_digest)}"
            raise InvalidValueError(f"digest of {plans}", short(found), expected=told)
        splits = read_json(self.workspace.dataset / "splits_final.json", expected="the folds of the data set")
        empty = [fold for fold in folds if fold >= len(splits) or not splits[fold]["val"]]
        if empty:
            raise InvalidValueError("folds", folds, expected=f"folds with cases to validate on, not {empty}")
        if self.start_from:
            for fold in folds:
                self.start_from.fold_digest(fold)


@contextmanager
def held(folder: Path, *, is_needed: bool) -> Iterator[None]:
    """Keep a fold to this process while it trains it; raises FoldInUseError where another does not let go of it.

    The kernel frees a lock with the process that holds it, however that ended. Where ranks train together, only the
    first needs it.
    """
    if not is_needed:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(handle, folder)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            # A record lock, which forked augmentation workers do not inherit.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
                raise FoldInUseError(f"{folder}: in training by {holder}; expected one process a fold") from error
            time.sleep(_POLL_S)
        else:
            return
