"""Our trainer: nnU-Net's own, driven by a recipe, with atomic checkpoints and a clean stop."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from spine.errors import SpinelineError
from spine.nnunet import checkpoints
from spine.nnunet.planning import array_order
from spine.recipe import AXES, TrainingRecipe


class TrainingStoppedError(Exception):
    """Training was asked to stop between two iterations; its last checkpoint is where it continues."""


class TrainingDivergedError(SpinelineError):
    """The loss is no number any more; no later epoch can mend that."""

    def __init__(self, fold: int, *, epoch: int) -> None:
        super().__init__(f"fold {fold}: training loss is NaN in epoch {epoch}; expected a lower learning rate")


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to; pseudo-Dice is nnU-Net's, on random patches, and never evidence."""

    epoch: int
    epochs: int
    train_loss: float
    pseudo_dice: float
    learning_rate: float
    seconds: float


class SpineTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with a recipe's schedule, mirroring and checkpoint period.

    Built by ``build_trainer``: the constructor keeps nnU-Net's signature, which it records by name.
    """

    recipe: TrainingRecipe
    on_epoch: Callable[[EpochReport], None]
    stop: threading.Event
    last_checkpoint_at: float

    def adopt(self, recipe: TrainingRecipe, *, on_epoch: Callable[[EpochReport], None], stop: threading.Event) -> None:
        """Take the recipe's numbers in place of nnU-Net's defaults."""
        self.recipe, self.on_epoch, self.stop = recipe, on_epoch, stop
        self.num_epochs = recipe.epochs
        self.num_iterations_per_epoch = recipe.iterations_per_epoch
        self.num_val_iterations_per_epoch = recipe.validation_iterations_per_epoch
        self.initial_lr = recipe.initial_learning_rate
        self.weight_decay = recipe.weight_decay
        self.oversample_foreground_percent = recipe.foreground_oversampling

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return the recipe's optimizer under nnU-Net's polynomial schedule."""
        if self.recipe.optimizer == "sgd":
            return super().configure_optimizers()  # type: ignore[no-any-return]
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, Any, Any, Any]:  # noqa: N802
        """Mirror only along the recipe's anatomical axes; everything else is nnU-Net's choice."""
        rotation, dummy_2d, initial_patch, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = tuple(sorted(array_axis(axis) for axis in self.recipe.mirror_axes))
        self.inference_allowed_mirroring_axes = axes
        return rotation, dummy_2d, initial_patch, axes

    def plot_network_architecture(self) -> None:
        """Draw nothing: the library that drew it no longer works."""

    def on_train_start(self) -> None:
        """Seed everything that draws random numbers, then start as nnU-Net does."""
        seed = self.recipe.seed * 1000 + self.fold * 10 + self.current_epoch
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.last_checkpoint_at = time.monotonic()
        super().on_train_start()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make one step, unless training was asked to stop."""
        if self.stop.is_set():
            raise TrainingStoppedError
        return super().train_step(batch)  # type: ignore[no-any-return]

    def on_epoch_end(self) -> None:
        """Report the epoch and write the checkpoint that is due; nnU-Net's pictures are left out."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        if not np.isfinite(self.logger.get_value("train_losses", -1)):
            raise TrainingDivergedError(self.fold, epoch=self.current_epoch + 1)
        started, ended = (self.logger.get_value(f"epoch_{edge}_timestamps", -1) for edge in ("start", "end"))
        self.on_epoch(
            EpochReport(
                epoch=self.current_epoch + 1,
                epochs=self.num_epochs,
                train_loss=float(self.logger.get_value("train_losses", -1)),
                pseudo_dice=float(self.logger.get_value("mean_fg_dice", -1)),
                learning_rate=float(self.logger.get_value("lrs", -1)),
                seconds=ended - started,
            )
        )
        is_due = time.monotonic() - self.last_checkpoint_at >= self.recipe.checkpoint_minutes * 60
        if is_due and self.current_epoch + 1 < self.num_epochs:
            checkpoints.save_periodic(self.state(), Path(self.output_folder), epoch=self.current_epoch + 1)
            self.last_checkpoint_at = time.monotonic()
        self.current_epoch += 1

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint that stock nnU-Net can predict with, atomically."""
        checkpoints.save(self.state(), Path(filename))

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs, as plain data and tensors only."""
        return {
            "network_weights": self.network.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler else None,
            "logging": _plain(self.logger.get_checkpoint()),
            "_best_ema": None,
            "current_epoch": self.current_epoch + 1,
            "init_args": {"configuration": self.configuration_name, "fold": self.fold},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
        }

    def history(self) -> dict[str, Any]:
        """Return what was logged, a list a quantity and a value an epoch; Dice in it is pseudo-Dice."""
        logged = _plain(self.logger.get_checkpoint())
        started, ended = logged["epoch_start_timestamps"], logged["epoch_end_timestamps"]
        return {
            "train_loss": logged["train_losses"],
            "validation_loss": logged["val_losses"],
            "pseudo_dice": logged["mean_fg_dice"],
            "learning_rate": logged["lrs"],
            "epoch_seconds": [end - start for start, end in zip(started, ended, strict=True)],
        }

    def resume(self, checkpoint: dict[str, Any]) -> None:
        """Continue where a checkpoint of the same plan and recipe was written."""
        self.begin_from(checkpoint)
        self.optimizer.load_state_dict(checkpoint["optimizer_state"])
        if self.grad_scaler and checkpoint["grad_scaler_state"]:
            self.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
        self.logger.load_checkpoint(checkpoint["logging"])
        self.current_epoch = checkpoint["current_epoch"]

    def begin_from(self, checkpoint: dict[str, Any]) -> None:
        """Take only the weights of a checkpoint; optimizer, schedule and epochs begin anew."""
        if not self.was_initialized:
            self.initialize()
        self.network.load_state_dict(checkpoint["network_weights"])


def array_axis(axis: str) -> int:
    """Return the array axis (0, 1, 2) on which nnU-Net sees an anatomical axis of canonical data."""
    return array_order((0, 1, 2)).index(AXES.index(axis))


def build_trainer(
    *,
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
    configuration: str,
    fold: int,
    recipe: TrainingRecipe,
    device: torch.device,
    on_epoch: Callable[[EpochReport], None],
    stop: threading.Event,
) -> SpineTrainer:
    """Build the trainer of one fold in the workspace that is active."""
    trainer = SpineTrainer({**plans, "continue_training": False}, configuration, fold, dataset_json, device)
    trainer.adopt(recipe, on_epoch=on_epoch, stop=stop)
    return trainer


def _plain(value: Any) -> Any:
    """Turn numpy scalars into Python's, so that a checkpoint loads without unpickling objects."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
