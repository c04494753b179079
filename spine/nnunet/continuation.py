"""Continues a training from a checkpoint, or begins one from its weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spine.nnunet import checkpoints
from spine.nnunet.checkpoints import ForeignCheckpointError

if TYPE_CHECKING:
    from spine.nnunet.trainer import SpineTrainer


def resume(trainer: "SpineTrainer", checkpoint: dict[str, Any], *, path: Path) -> None:
    """Continue where a checkpoint was written.

    Raises ForeignCheckpointError where it belongs to another plan, recipe or fold, to another trainer's training, or
    to a later release.
    """
    ours = checkpoint.get(checkpoints.OUR_KEY, {"origin": {}})
    if ours.get("format", 1) > checkpoints.FORMAT:
        expected = f"{checkpoints.FORMAT} or earlier"
        raise ForeignCheckpointError(path, what="format", found=str(ours["format"]), expected=expected)
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
