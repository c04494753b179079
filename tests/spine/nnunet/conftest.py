"""A tiny plan, made once with nnU-Net itself: eight phantom scans on a coarse grid, a two-stage network."""

import json
import threading
from pathlib import Path

import pytest

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.phantom.raw_set import write_raw_set
from spine.recipe import TrainingRecipe


@pytest.fixture(scope="session")
def tiny_training():
    """A recipe of three epochs of two iterations."""
    return TrainingRecipe(
        folds=(0,),
        epochs=3,
        iterations_per_epoch=2,
        validation_iterations_per_epoch=1,
        optimizer="adamw",
        initial_learning_rate=0.001,
        augmentation_workers=0,
        checkpoint_minutes=0.0001,
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_raw_set(folder / "raw", scans=8, seed=3)
    prepare_dataset(raw=folder / "raw", output=folder / "data", choices=Choices(seed=1, test_share=0.3))
    return folder / "data"


@pytest.fixture(scope="session")
def planned(dataset, plan_recipe, tmp_path_factory):
    """The plan's folder and its digest; the cases that were reported."""
    from spine.nnunet.planning import plan_and_preprocess

    folder = tmp_path_factory.mktemp("plan")
    workspace = Workspace.below(folder)
    workspace.activate()
    told: list[tuple[str, int, int]] = []
    digest = plan_and_preprocess(
        dataset=dataset, workspace=workspace, recipe=plan_recipe, on_case=lambda *progress: told.append(progress)
    )
    return folder, digest, told


@pytest.fixture
def build(planned, tiny_training, tmp_path):
    """Build a trainer whose results go to this test's own folder."""
    from spine.nnunet.trainer import Hooks, build_trainer

    def make(*, recipe=tiny_training, results: Path = tmp_path / "results", stop=None, fold=0, device="cpu", **hooks):
        import torch

        torch.set_num_threads(1)
        workspace = Workspace.below(planned[0], results=results)
        workspace.activate(augmentation_workers=0)
        return build_trainer(
            plans=json.loads((workspace.dataset / f"{PLANS_NAME}.json").read_text()),
            dataset_json=json.loads((workspace.dataset / "dataset.json").read_text()),
            configuration="3d_fullres",
            fold=fold,
            recipe=recipe,
            plan="sha256:plan",
            device=torch.device(device),
            hooks=Hooks(stop=stop or threading.Event(), **hooks),
        )

    return make
