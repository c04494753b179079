"""Minutes before hours: one real batch forward and backward tells what a training needs and how long it will take."""

import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch

from spine.errors import OutOfSpaceError, SpinelineError
from spine.nnunet.checkpoint_files import KEPT
from spine.nnunet.epochs import TrainingDivergedError

if TYPE_CHECKING:
    from spine.nnunet.trainer import SpineTrainer

_GB = 1e9
_STATES = {"sgd": 1, "adamw": 2}
"""Numbers that an optimizer keeps for each weight."""


class OutOfDeviceMemoryError(SpinelineError):
    """One batch of the plan does not fit on the device."""


@dataclass(frozen=True)
class Forecast:
    """What one batch told of a whole training."""

    step_seconds: float
    batch_seconds: float
    """To make one batch; workers share that work."""
    epoch_seconds: float
    remaining_seconds: float
    memory_gb: float
    """At the peak of one step, with what the optimizer keeps."""
    memory_available_gb: float
    checkpoint_gb: float
    disk_free_gb: float
    weights: int

    @property
    def end(self) -> str:
        """When the training will be done if all goes on like this, as local time."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + self.remaining_seconds))

    @property
    def summary(self) -> str:
        """Say it in one line."""
        return (
            f"{self.epoch_seconds:.3g} s an epoch, done about {self.end}; "
            f"{self.memory_gb:.1f} of {self.memory_available_gb:.0f} GB memory, "
            f"{self.checkpoint_gb * (KEPT + 1):.2g} GB of disk (free: {self.disk_free_gb:.0f} GB)"
        )


def forecast(trainer: "SpineTrainer") -> Forecast:
    """Try one batch of a trainer that is set up, forward and backward; its weights stay as they are.

    Raises OutOfDeviceMemoryError, OutOfSpaceError where checkpoints find no room, TrainingDivergedError where the
    loss is no number.
    """
    weights = sum(parameter.numel() for parameter in trainer.network.parameters())
    kept_bytes = weights * 4 * _STATES[trainer.recipe.optimizer]
    free = _require_disk(Path(trainer.output_folder), needed=(KEPT + 1) * (weights * 4 + kept_bytes))
    batch, batch_seconds = _timed(lambda: trainer.dataloader_train[trainer.steps_done])
    try:
        _step(trainer, batch)  # the first one compiles, allocates and chooses algorithms
        _, step_seconds = _timed(lambda: _step(trainer, batch))
        with torch.no_grad():
            trainer.on_validation_epoch_start()
            _, check_seconds = _timed(lambda: trainer.validation_step(batch))
    except torch.OutOfMemoryError as error:
        raise OutOfDeviceMemoryError(
            f"fold {trainer.fold}: a batch of {trainer.batch_size} patches of "
            f"{tuple(trainer.configuration_manager.patch_size)} does not fit on {trainer.device} "
            f"({_available(trainer.device) / _GB:.0f} GB); expected a smaller patch or batch in the plan"
        ) from error
    workers = trainer.recipe.augmentation_workers
    waiting = max(0.0, batch_seconds / workers - step_seconds) if workers else batch_seconds
    epoch = trainer.num_iterations_per_epoch * (step_seconds + waiting)
    epoch += trainer.num_val_iterations_per_epoch * check_seconds
    done = trainer.steps_done / (trainer.num_epochs * trainer.num_iterations_per_epoch)
    return Forecast(
        step_seconds=step_seconds,
        batch_seconds=batch_seconds,
        epoch_seconds=epoch,
        remaining_seconds=epoch * trainer.num_epochs * (1 - done),
        memory_gb=(_peak(trainer.device) + kept_bytes) / _GB,
        memory_available_gb=_available(trainer.device) / _GB,
        checkpoint_gb=(weights * 4 + kept_bytes) / _GB,
        disk_free_gb=free / _GB,
        weights=weights,
    )


def _step(trainer: "SpineTrainer", batch: dict[str, Any]) -> None:
    """Do what a training step does up to the gradients, and forget them."""
    trainer.network.train()
    data = batch["data"].to(trainer.device)
    target = [level.to(trainer.device) for level in batch["target"]]
    with torch.autocast("cuda", enabled=trainer.device.type == "cuda"):
        loss = trainer.loss(trainer.network(data), target)
    loss.backward()
    trainer.optimizer.zero_grad(set_to_none=True)
    if not np.isfinite(value := float(loss)):
        raise TrainingDivergedError(f"fold {trainer.fold}: loss of the first batch is {value}; expected a number")


def _timed(work: Any) -> tuple[Any, float]:
    began = time.monotonic()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.monotonic() - began


def _require_disk(folder: Path, *, needed: int) -> int:
    free = shutil.disk_usage(folder).free
    if free < needed:
        message = f"{needed / _GB:.1f} GB for checkpoints (has {free / _GB:.1f} GB)"
        raise OutOfSpaceError(folder, needed=message)
    return free


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _available(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(psutil.virtual_memory().total)
