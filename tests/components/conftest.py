"""A root with a tiny plan in it, made once by the steps themselves: fourteen phantom scans on a coarse grid."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from components.plan_training.main import plan_training
from components.prepare_dataset.main import Choices, prepare_dataset
from spine.phantom.raw_set import write_raw_set
from spine.recipe import PlanRecipe, Recipe, TrainingRecipe
from spine.records import RECORD_FILE, DatasetRevision, Plan

TRAINING = TrainingRecipe(
    folds=(0,),
    epochs=4,
    iterations_per_epoch=3,
    validation_iterations_per_epoch=1,
    optimizer="adamw",
    initial_learning_rate=0.001,
    augmentation_workers=0,
    checkpoint_minutes=0.0001,
    dice_by_epoch=None,
)


@dataclass(frozen=True)
class PlannedRoot:
    """A root in which folds can be trained."""

    root: Path
    dataset: DatasetRevision
    plan: Plan
    recipe: Recipe

    def training(self, **changes: object) -> Recipe:
        """The tiny recipe with some fields of its training changed."""
        changed = self.recipe.training.model_copy(update=changes)
        return self.recipe.model_copy(update={"training": changed})


@pytest.fixture(scope="session")
def planned_root(plan_recipe: PlanRecipe, tmp_path_factory: pytest.TempPathFactory) -> PlannedRoot:
    root = tmp_path_factory.mktemp("planned")
    folder = root / "datasets" / "tiny"
    write_raw_set(root / "raw", scans=14, seed=3)
    prepare_dataset(raw=root / "raw", output=folder / "data", choices=Choices(seed=1))
    dataset = DatasetRevision(
        repository="repository",
        git_revision="0" * 40,
        dvc_hash="tiny.dir",
        folder="datasets/tiny/data",
        cases=14,
        test_cases=2,
    )
    dataset.write(folder / RECORD_FILE)
    recipe = Recipe(name="tiny", about="Hardly trained, for tests.", plan=plan_recipe, training=TRAINING)
    plan = plan_training(root=root, dataset=dataset, recipe=recipe)
    return PlannedRoot(root=root, dataset=dataset, plan=plan, recipe=recipe)
