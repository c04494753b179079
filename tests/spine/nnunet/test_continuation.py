"""A training that is stopped and continued is, to the bit, one that was not."""

import threading
from pathlib import Path

import pytest
import torch

from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.checkpoints import ForeignCheckpointError
from spine.nnunet.continuation import resume
from spine.nnunet.trainer import TrainingStoppedError


def folder(trainer):
    return Path(trainer.output_folder)


def final(trainer):
    trainer.run_training()
    path = folder(trainer) / checkpoint_files.FINAL
    return checkpoints.load(path, digest=checkpoint_files.sealed_digest(path))


def stopped_after(build, steps, **given):
    """Train until a number of iterations is done; return the newest checkpoint."""
    stop = threading.Event()
    trainer = build(stop=stop, **given)
    step, seen = trainer.train_step, []

    def counted(batch):
        seen.append(1)
        if len(seen) == steps:
            stop.set()
        return step(batch)

    trainer.train_step = counted
    with pytest.raises(TrainingStoppedError):
        trainer.run_training()
    return checkpoint_files.newest_verified(folder(trainer), on_rejected=pytest.fail)


def numbers(checkpoint):
    """All that training computes, without what a clock told."""
    logged = {name: values for name, values in checkpoint["logging"].items() if "timestamp" not in name}
    random = checkpoint["spineline"]["random"]
    return logged, checkpoint["spineline"]["losses"], random["python"], random["numpy"][2:]


def assert_same(first, second):
    for name in ("network_weights", "optimizer_state"):
        pairs = zip(tensors(first[name]), tensors(second[name]), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs), name
    assert repr(numbers(first)) == repr(numbers(second))


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


@pytest.fixture
def recipe(tiny_training):
    """Saved only when stopped, so that a stop is what is tested."""
    return tiny_training.model_copy(update={"checkpoint_minutes": 60.0, "iterations_per_epoch": 3})


@pytest.mark.parametrize("steps", [1, 3, 4, 8])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_continued_from_any_iteration_it_ends_as_one_that_was_not_stopped(build, recipe, tmp_path, steps, optimizer):
    recipe = recipe.model_copy(update={"optimizer": optimizer})
    path, digest = stopped_after(build, steps, recipe=recipe, results=tmp_path / "stopped")
    trainer = build(recipe=recipe, results=tmp_path / "stopped")
    resume(trainer, checkpoints.load(path, digest=digest), path=path)
    assert trainer.steps_done == steps
    assert_same(final(trainer), final(build(recipe=recipe, results=tmp_path / "whole")))
    assert trainer.resumes == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_augmentation_workers_trains_the_same_network(build, recipe, tmp_path, workers):
    helped = recipe.model_copy(update={"augmentation_workers": workers})
    path, digest = stopped_after(build, 4, recipe=helped, results=tmp_path / "stopped")
    trainer = build(recipe=recipe, results=tmp_path / "stopped")
    resume(trainer, checkpoints.load(path, digest=digest), path=path)
    assert_same(final(trainer), final(build(recipe=recipe, results=tmp_path / "whole")))


def test_epochs_take_as_long_as_before_and_after_the_stop_together(build, recipe, tmp_path):
    path, digest = stopped_after(build, 2, recipe=recipe)
    trainer = build(recipe=recipe)
    checkpoint = checkpoints.load(path, digest=digest)
    checkpoint["spineline"]["seconds"] = 1000.0
    resume(trainer, checkpoint, path=path)
    trainer.run_training()
    assert 1000 < trainer.epoch_seconds[0] < 1010
    assert trainer.epoch_seconds[1] < 10


@pytest.mark.parametrize(
    ("change", "what"),
    [({"seed": 9}, "recipe"), ({"epochs": 5}, "recipe"), ({"initial_learning_rate": 0.5}, "recipe")],
)
def test_a_checkpoint_of_another_recipe_is_refused(build, recipe, change, what):
    path, digest = stopped_after(build, 1, recipe=recipe)
    with pytest.raises(ForeignCheckpointError, match=rf"{path.name}: belongs to {what} .*; expected"):
        resume(build(recipe=recipe.model_copy(update=change)), checkpoints.load(path, digest=digest), path=path)


def test_a_checkpoint_of_another_plan_or_fold_is_refused(build, recipe):
    path, digest = stopped_after(build, 1, recipe=recipe)
    for what in ("plan", "fold"):
        trainer = build(recipe=recipe)
        trainer.origin = {**trainer.origin, what: "another"}
        with pytest.raises(ForeignCheckpointError, match=f"belongs to {what} "):
            resume(trainer, checkpoints.load(path, digest=digest), path=path)


def test_a_checkpoint_of_stock_nnunet_is_refused(build):
    trainer = build()
    trainer.initialize()
    stock = {name: value for name, value in trainer.state().items() if name != "spineline"}
    with pytest.raises(ForeignCheckpointError, match="belongs to plan unknown"):
        resume(build(), stock, path=Path("checkpoint_latest.pth"))


def test_more_workers_or_checkpoints_make_no_other_recipe(build, recipe):
    path, digest = stopped_after(build, 1, recipe=recipe)
    trainer = build(recipe=recipe.model_copy(update={"augmentation_workers": 1, "checkpoint_minutes": 1.0}))
    resume(trainer, checkpoints.load(path, digest=digest), path=path)
    assert trainer.steps_done == 1
