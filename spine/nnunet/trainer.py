"""Our trainer: nnU-Net's own, driven by a recipe, that can be stopped and continued between any two iterations."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch._dynamo import OptimizedModule

from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.augmentation import faster, reproducible
from spine.nnunet.axes import mirrored_axes
from spine.nnunet.batches import SeededBatches, random_state, restore_random_state, seed_all
from spine.nnunet.checkpoint_files import Position
from spine.nnunet.checkpoints import plain
from spine.nnunet.epochs import EpochReport, TrainingDivergedError, by_label, check_learning
from spine.nnunet.preprocessed import require_readable
from spine.recipe import TrainingRecipe
from spine.storage import digest_value

_TRAINING, _VALIDATION, _NETWORK = range(3)
"""Streams of random numbers: what one draws never changes what another does."""
_PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
Batches = Iterator[dict[str, Any]]


class TrainingStoppedError(Exception):
    """Training was asked to stop between two iterations; its last checkpoint is where it continues."""


@dataclass(frozen=True)
class Hooks:
    """What whoever runs a training is told, and how they stop it."""

    stop: threading.Event
    on_epoch: Callable[[EpochReport], None] = lambda _: None
    on_checkpoint: Callable[[Path], None] = lambda _: None
    on_start: Callable[[], object] = lambda: None
    """Called when everything is set up, before the first iteration."""


class SpineTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with a recipe's schedule, mirroring, batches that can be had again, and checkpoints.

    Built by ``build_trainer``: the constructor keeps nnU-Net's signature, which it records by name.
    """

    is_ddp: bool
    network: Any
    recipe: TrainingRecipe
    hooks: Hooks
    origin: dict[str, str]
    """What a checkpoint must agree with to be continued: plan, recipe and fold."""

    def adopt(self, recipe: TrainingRecipe, *, hooks: Hooks, origin: dict[str, str]) -> None:
        """Take the recipe's numbers in place of nnU-Net's defaults."""
        self.recipe, self.hooks, self.origin = recipe, hooks, origin
        self.num_epochs = recipe.epochs
        self.num_iterations_per_epoch = recipe.iterations_per_epoch
        self.num_val_iterations_per_epoch = recipe.validation_iterations_per_epoch
        self.initial_lr = recipe.initial_learning_rate
        self.weight_decay = recipe.weight_decay
        self.oversample_foreground_percent = recipe.foreground_oversampling
        self.losses: list[float] = []
        self.epoch_seconds: list[float] = []
        self.seconds_before = self.waited = 0.0
        self._epoch_began = self._saved_at = time.monotonic()
        self.overflows = self.resumes = 0
        self.random: dict[str, Any] | None = None
        if self.device.type == "cuda":
            torch.set_autocast_dtype("cuda", _PRECISIONS[recipe.precision])
            # As nnU-Net's own command does: patches are all of one size, for which the fastest algorithms are tried.
            torch.backends.cudnn.benchmark = True
        if self.device.type != "cuda" or recipe.precision != "fp16":
            self.grad_scaler = None

    def _do_i_compile(self) -> bool:
        return self.device.type == "cuda" and self.recipe.compile

    def initialize(self) -> None:
        """Build network, optimizer and loss, the weights drawn by the seed; ranks on CPUs work as those on GPUs."""
        seed_all(self.recipe.seed, self.fold, _NETWORK)
        on_cpu_ranks = self.is_ddp and self.device.type == "cpu"
        self.is_ddp = self.is_ddp and not on_cpu_ranks
        super().initialize()
        if on_cpu_ranks:
            self.is_ddp = True
            self._set_batch_size_and_oversample()
            self.network = torch.nn.parallel.DistributedDataParallel(self.network)
            self.loss = self._build_loss()
        self.random = random_state()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Return the recipe's optimizer under nnU-Net's polynomial schedule."""
        if self.recipe.optimizer == "sgd":
            return super().configure_optimizers()  # type: ignore[no-any-return]
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, Any, Any, Any]:  # noqa: N802
        """Mirror only along the recipe's anatomical axes; everything else is nnU-Net's choice."""
        rotation, dummy_2d, initial_patch, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = mirrored_axes(self.recipe.mirror_axes, dimensions=len(self.configuration_manager.patch_size))
        self.inference_allowed_mirroring_axes = axes
        return rotation, dummy_2d, initial_patch, axes

    def get_dataloaders(self) -> tuple[SeededBatches, SeededBatches]:
        """Return the training and the validation batches, to be had by their numbers."""
        # Asked for no workers, nnU-Net wraps each of its loaders in a plain iterator.
        training, validation = (wrapped.data_loader for wrapped in super().get_dataloaders())
        seed = (self.recipe.seed, self.fold, self.local_rank)
        return (
            SeededBatches(training, seed=(*seed, _TRAINING)),
            SeededBatches(validation, seed=(*seed, _VALIDATION)),
        )

    @staticmethod
    def get_training_transforms(*args: Any, **kwargs: Any) -> Any:
        """Return nnU-Net's augmentation, the same to the bit, several times faster, and the same in every run."""
        return reproducible(faster(nnUNetTrainer.get_training_transforms(*args, **kwargs)))

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Return both data sets of the fold; raises UnreadableCaseError where a case of them is damaged."""
        datasets: tuple[Any, Any] = super().get_tr_and_val_datasets()
        for dataset in datasets:
            require_readable(Path(dataset.source_folder), dataset.identifiers)
        return datasets

    def plot_network_architecture(self) -> None:
        """Draw nothing: the library that drew it no longer works."""

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make one step; one that was left out because its gradients overflowed is counted."""
        before = self.grad_scaler.get_scale() if self.grad_scaler else 0.0
        result: dict[str, Any] = super().train_step(batch)
        # Gradients that were scaled too much may overflow; a loss, which never is, does so of what it was made of.
        if not np.isfinite(result["loss"]):
            raise TrainingDivergedError(
                f"fold {self.fold}: training loss is {float(result['loss'])} in epoch {self.current_epoch + 1}, "
                f"iteration {len(self.losses) + 1}; expected a number (a lower initial_learning_rate?)"
            )
        if self.grad_scaler and self.grad_scaler.get_scale() < before:
            self.overflows += 1
        return result

    def run_training(self) -> None:
        """Train from the current position to the last epoch; raise TrainingStoppedError where asked to stop."""
        self.on_train_start()
        if self.current_epoch == self.num_epochs:
            return  # resumed from the final checkpoint, which stands
        self.hooks.on_start()
        training, validation = self._streams()
        if self.random:
            restore_random_state(self.random)
        self._saved_at = time.monotonic()
        while self.current_epoch < self.num_epochs:
            self._run_epoch(training, validation)
        self._save(checkpoint_files.FINAL)
        self.print_to_log_file("Training done.")

    def _streams(self) -> tuple[Batches, Batches]:
        """Return the batches that are still to come; those of the validation have half as many workers."""
        workers, pin = self.recipe.augmentation_workers, self.device.type == "cuda"
        steps, checks = self.num_iterations_per_epoch, self.num_val_iterations_per_epoch
        training = self.dataloader_train.stream(
            start=self.steps_done, end=self.num_epochs * steps, workers=workers, pin=pin
        )
        begun, workers = self.current_epoch * checks, (workers + 1) // 2
        validation = self.dataloader_val.stream(start=begun, end=self.num_epochs * checks, workers=workers, pin=pin)
        return training, validation

    def _run_epoch(self, training: Batches, validation: Batches) -> None:
        self._epoch_began = time.monotonic() - self.seconds_before
        self.on_epoch_start()
        self.on_train_epoch_start()
        while len(self.losses) < self.num_iterations_per_epoch:
            asked = time.monotonic()
            batch = next(training)
            self.waited += time.monotonic() - asked
            self.losses.append(float(self.train_step(batch)["loss"]))
            self._pause()
        self.on_train_epoch_end([{"loss": np.float32(loss)} for loss in self.losses])
        with torch.no_grad():
            self.on_validation_epoch_start()
            outputs = [self.validation_step(next(validation)) for _ in range(self.num_val_iterations_per_epoch)]
            self.on_validation_epoch_end(outputs)
        self.on_epoch_end()
        self._pause()

    def on_epoch_end(self) -> None:
        """Report the epoch and stop a fold that learns nothing; nnU-Net's pictures and best checkpoint are left out."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        # What is averaged over epochs is then rounded alike before and after an interruption.
        self.logger.load_checkpoint(plain(self.logger.get_checkpoint()))
        self.epoch_seconds.append(self.seconds)
        report = self._report()
        self.current_epoch += 1
        self.losses, self.seconds_before, self.waited, self.overflows = [], 0.0, 0.0, 0
        self.hooks.on_epoch(report)
        check_learning(
            fold=self.fold,
            losses=self.logger.get_value("train_losses", None),
            pseudo_dice=self.logger.get_value("mean_fg_dice", None),
            by_epoch=self.recipe.dice_by_epoch,
        )

    def _report(self) -> EpochReport:
        last = {name: self.logger.get_value(name, -1) for name in ("train_losses", "val_losses", "mean_fg_dice", "lrs")}
        patches = self.num_iterations_per_epoch * self.configuration_manager.batch_size
        return EpochReport(
            epoch=self.current_epoch + 1,
            epochs=self.num_epochs,
            train_loss=float(last["train_losses"]),
            validation_loss=float(last["val_losses"]),
            pseudo_dice=float(last["mean_fg_dice"]),
            pseudo_dice_by_label=by_label(
                self.logger.get_value("dice_per_class_or_region", -1), self.dataset_json["labels"]
            ),
            learning_rate=float(last["lrs"]),
            seconds=self.epoch_seconds[-1],
            patches_per_second=patches / self.epoch_seconds[-1],
            waiting_seconds=self.waited,
            gradient_overflows=self.overflows,
        )

    @property
    def seconds(self) -> float:
        """How long the epoch in progress has taken, before an interruption and since."""
        return time.monotonic() - self._epoch_began

    @property
    def position(self) -> Position:
        """How far the training is."""
        return Position(self.current_epoch, len(self.losses))

    @property
    def steps_done(self) -> int:
        """How many steps were made since the training began: the number of the next batch."""
        return int(self.current_epoch * self.num_iterations_per_epoch + len(self.losses))

    def _pause(self) -> None:
        """Write the checkpoint that is due, and stop where that was asked for."""
        if self.current_epoch == self.num_epochs:
            return
        stop = self.hooks.stop.is_set()
        due = time.monotonic() - self._saved_at >= self.recipe.checkpoint_minutes * 60
        if self.is_ddp:
            asked = torch.tensor([stop, due], dtype=torch.uint8, device=self.device)
            dist.all_reduce(asked, op=dist.ReduceOp.MAX)
            stop, due = (bool(flag) for flag in asked.tolist())
        if stop or due:
            self._save(self.position.file_name)
            self._saved_at = time.monotonic()
        if stop:
            raise TrainingStoppedError

    def _save(self, name: str) -> None:
        if self.local_rank == 0:
            path = Path(self.output_folder) / name
            checkpoints.save(self.state(), path)
            checkpoint_files.drop_outdated(path.parent)
            self.hooks.on_checkpoint(path)

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs, as plain data and tensors only.

        All keys but ours are nnU-Net's own, so that its predictor reads the checkpoint too.
        """
        return {
            "network_weights": self.bare_network().state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler else None,
            "logging": self._logged(),
            "_best_ema": None,
            "current_epoch": self.current_epoch,
            "init_args": {"configuration": self.configuration_name, "fold": self.fold},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            checkpoints.OUR_KEY: {
                "format": checkpoints.FORMAT,
                "origin": self.origin,
                "losses": list(self.losses),
                "epoch_seconds": list(self.epoch_seconds),
                "seconds": self.seconds if self.losses else 0.0,
                "waited": self.waited,
                "overflows": self.overflows,
                "resumes": self.resumes,
                "random": random_state(),
            },
        }

    def _logged(self) -> dict[str, Any]:
        """Return what was logged of whole epochs: what the one in progress logged so far, it will log again."""
        kept = {name: values[: self.current_epoch] for name, values in self.logger.get_checkpoint().items()}
        return dict(plain(kept))

    def bare_network(self) -> torch.nn.Module:
        """Return the network without what compiles it or spreads it over ranks."""
        network: Any = self.network.module if self.is_ddp else self.network
        bare: torch.nn.Module = network._orig_mod if isinstance(network, OptimizedModule) else network
        return bare


def build_trainer(
    *,
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
    configuration: str,
    fold: int,
    recipe: TrainingRecipe,
    plan: str,
    device: torch.device,
    hooks: Hooks,
) -> SpineTrainer:
    """Build the trainer of one fold in the workspace that is active; ``plan`` is the digest of the plan's record."""
    trainer = SpineTrainer({**plans, "continue_training": False}, configuration, fold, dataset_json, device)
    trainer.device = torch.device(device.type, trainer.local_rank) if device.type == "cuda" else device
    origin = {"plan": plan, "recipe": digest_value(recipe.identity), "fold": str(fold)}
    trainer.adopt(recipe, hooks=hooks, origin=origin)
    return trainer
