"""One training of one plan: where its folds lie, what they begin with, and who is at work on them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_registry.bundle import Bundle
from model_registry.champion import dataset_of
from spine.errors import InvalidValueError, MissingPathError, SpinelineError
from spine.nnunet import checkpoint_files
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME, Workspace, preprocessed_files
from spine.recipe import TrainingRecipe
from spine.records import RECORD_FILE, FoldCheckpoint, Plan
from spine.storage import digest_value, read_json, short

STEP = "train_folds"
LOG_FILE = "training.log"
_SHARED_FILES = ("dataset.json", "splits_final.json")
_LOG = logging.getLogger(__name__)


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
        """Return the record of a fold that is done, its weights being what it says; else it is trained (again)."""
        path = self.fold_folder(fold) / RECORD_FILE
        if not path.is_file():
            return None
        try:
            record = FoldCheckpoint.read(path)
            verified = checkpoint_files.verify(path.with_name(checkpoint_files.FINAL))
        except (SpinelineError, OSError) as error:
            _LOG.warning("fold %d is not done: %s", fold, error)
            return None
        return record if verified == record.weights_sha256 else None

    def check(self, folds: tuple[int, ...]) -> None:
        """Raise where data set or plans are not what the plan's record says, or a fold can't be begun or validated."""
        if self.plan.configuration == "3d_cascade_fullres":
            # Its second stage learns from what all folds of the first predict, and is served after the first.
            message = "2d, 3d_fullres or 3d_lowres (a cascade is planned and preprocessed, for nnUNetv2_train to train)"
            raise InvalidValueError("configuration", self.plan.configuration, expected=message)
        dataset = dataset_of(self.root, self.plan).digest
        if dataset != self.plan.dataset:
            message = f"the one in {self.plan.dataset_folder}, {short(dataset)}"
            raise InvalidValueError("data set of the plan", short(self.plan.dataset), expected=message)
        plans = self.workspace.dataset / f"{PLANS_NAME}.json"
        found = digest_value(read_json(plans, expected="the plans that plan_training wrote"))
        if found != self.plan.plans_digest:
            message = f"the plans of the record, {short(self.plan.plans_digest)}"
            raise InvalidValueError(f"digest of {plans}", short(found), expected=message)
        for name in _SHARED_FILES:
            self._require_same(name)
        splits = read_json(self.workspace.dataset / "splits_final.json", expected="the folds of the data set")
        empty = [fold for fold in folds if fold >= len(splits) or not splits[fold]["val"]]
        if empty:
            raise InvalidValueError("folds", folds, expected=f"folds with cases to validate on, not {empty}")
        self._require_cases([case for fold in folds for part in splits[fold].values() for case in part])
        if self.start_from:
            for fold in folds:
                self.start_from.fold_digest(fold)

    def _require_same(self, name: str) -> None:
        """Raise where the plan's copy of a file is not the data set's: folds would train on what judges them."""
        own, theirs = self.workspace.dataset / name, self.root / self.plan.dataset_folder / name
        if read_json(own, expected="a file of the plan") != read_json(theirs, expected="a file of the data set"):
            raise InvalidValueError(f"content of {own}", "another", expected=f"that of {theirs}, which was planned for")

    def _require_cases(self, cases: list[str]) -> None:
        folder = self.workspace.dataset / str(self.configuration["data_identifier"])
        for case in cases:
            for name in preprocessed_files(case):
                if not (folder / name).is_file():
                    raise MissingPathError(folder / name, expected="a preprocessed case (plan_training makes it again)")

    @property
    def configuration(self) -> dict[str, Any]:
        """The plan's configuration, with what it inherits from others."""
        path = self.workspace.dataset / f"{PLANS_NAME}.json"
        configurations = read_json(path, expected="nnU-Net plans")["configurations"]
        name = self.plan.configuration
        if name not in configurations:
            raise InvalidValueError(f"configuration in {path}", name, expected=" or ".join(sorted(configurations)))
        found: dict[str, Any] = {}
        while name:
            found = {**configurations[name], **found}
            name = configurations[name].get("inherits_from")
        return found
