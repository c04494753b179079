"""Before hours are spent: one batch tells what a training needs, and one that can't be trained is refused."""

import pytest
import torch

from spine.errors import OutOfSpaceError
from spine.nnunet import sanity
from spine.nnunet.epochs import TrainingDivergedError
from spine.nnunet.sanity import OutOfDeviceMemoryError, forecast


@pytest.fixture
def ready(build, tiny_training):
    """A trainer that is set up, and what its training is made of."""

    def make(**changes):
        trainer = build(recipe=tiny_training.model_copy(update=changes))
        trainer.on_train_start()
        return trainer

    return make


def test_a_forecast_is_made_of_what_one_batch_took(ready):
    told = forecast(ready())
    assert told.step_seconds > 0
    assert told.epoch_seconds > 2 * told.step_seconds, "two iterations and one of validation"
    assert told.remaining_seconds == pytest.approx(3 * told.epoch_seconds)
    assert 0.1 < told.memory_gb < told.memory_available_gb
    assert told.disk_free_gb > told.checkpoint_gb > 0
    assert "s an epoch, done about 20" in told.summary


def test_what_is_done_already_is_not_waited_for_again(ready):
    trainer = ready()
    trainer.current_epoch = 2
    told = forecast(trainer)
    assert told.remaining_seconds == pytest.approx(told.epoch_seconds)


def test_trying_a_batch_changes_neither_weights_nor_optimizer(ready):
    trainer = ready()
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    forecast(trainer)
    assert all(torch.equal(value, before[name]) for name, value in trainer.network.state_dict().items())
    assert trainer.optimizer.state_dict()["state"] == {}
    assert all(parameter.grad is None for parameter in trainer.network.parameters())


def test_a_disk_without_room_for_checkpoints_is_told_before_training(ready, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr(sanity.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OutOfSpaceError, match=r"expected 0\.0 GB for checkpoints \(has 0\.0 GB\)"):
        forecast(ready())


def test_a_patch_that_does_not_fit_on_the_device_is_told_with_its_size(ready, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = ready()
    monkeypatch.setattr(trainer.network, "forward", full)
    with pytest.raises(OutOfDeviceMemoryError, match=r"a batch of 2 patches of \(32, 16, 16\) does not fit on cpu"):
        forecast(trainer)


def test_a_loss_that_is_no_number_is_told_before_the_first_step(ready):
    trainer = ready()
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="loss of the first batch is nan"):
        forecast(trainer)
