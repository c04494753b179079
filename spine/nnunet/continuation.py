"""What a training is made of between two iterations: written into a checkpoint, and taken up again from one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spine.nnunet.batches import random_state
from spine.nnunet.checkpoints import ForeignCheckpointError

if TYPE_CHECKING:
    from spine.nnunet.trainer import SpineTrainer

_OURS = "spineline"
FORMAT = 2
"""Of what a checkpoint holds below our key; the first had no number. It is continued from, later ones are refused."""


def state_of(trainer: "SpineTrainer") -> dict[str, Any]:
    """Return everything that a resumed training needs, as plain data and tensors only.

    All keys but ours are nnU-Net's own, so that its predictor reads the checkpoint too.
    """
    return {
        "network_weights": trainer.bare_network().state_dict(),
        "optimizer_state": trainer.optimizer.state_dict(),
        "grad_scaler_state": trainer.grad_scaler.state_dict() if trainer.grad_scaler else None,
        "logging": _logged(trainer),
        "_best_ema": None,
        "current_epoch": trainer.current_epoch,
        "init_args": {"configuration": trainer.configuration_name, "fold": trainer.fold},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": trainer.inference_allowed_mirroring_axes,
        _OURS: {
            "format": FORMAT,
            "origin": trainer.origin,
            "losses": list(trainer.losses),
            "epoch_seconds": list(trainer.epoch_seconds),
            "seconds": trainer.seconds if trainer.losses else 0.0,
            "waited": trainer.waited,
            "overflows": trainer.overflows,
            "resumes": trainer.resumes,
            "random": random_state(),
        },
    }


def resume(trainer: "SpineTrainer", checkpoint: dict[str, Any], *, path: Path) -> None:
    """Continue where a checkpoint was written.

    Raises ForeignCheckpointError where it belongs to another plan, recipe or fold, to another trainer's training, or
    to a later release.
    """
    ours = checkpoint.get(_OURS, {"origin": {}})
    if ours.get("format", 1) > FORMAT:
        raise ForeignCheckpointError(path, what="format", found=str(ours["format"]), expected=f"{FORMAT} or earlier")
    for what, expected in trainer.origin.items():
        found = ours["origin"].get(what, "unknown")
        if found != expected:
            raise ForeignCheckpointError(path, what=what, found=found, expected=expected)
    begin_from(trainer, checkpoint)
    trainer.optimizer.load_state_dict(checkpoint["optimizer_state"])
    if trainer.grad_scaler and checkpoint["grad_scaler_state"]:
        trainer.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
    trainer.logger.load_checkpoint(checkpoint["logging"])
    trainer.current_epoch = checkpoint["current_epoch"]
    trainer.losses, trainer.epoch_seconds = ours["losses"], ours["epoch_seconds"]
    trainer.seconds_before, trainer.waited = ours["seconds"], ours["waited"]
    trainer.overflows, trainer.resumes = ours["overflows"], ours["resumes"] + 1
    trainer.random = ours["random"]


def begin_from(trainer: "SpineTrainer", checkpoint: dict[str, Any]) -> None:
    """Take only the weights of a checkpoint; optimizer, schedule and epochs begin anew."""
    if not trainer.was_initialized:
        trainer.initialize()
    trainer.bare_network().load_state_dict(checkpoint["network_weights"])


def _logged(trainer: "SpineTrainer") -> dict[str, Any]:
    """Return what was logged of whole epochs: what the one in progress logged so far, it will log again."""
    kept = {name: values[: trainer.current_epoch] for name, values in trainer.logger.get_checkpoint().items()}
    return dict(plain(kept))


def plain(value: Any) -> Any:
    """Turn numpy scalars into Python's: a checkpoint then loads without unpickling objects."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
