"""What an epoch came to, and whether a fold learns at all."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spine.errors import SpinelineError

_LEARNT = 0.001


class TrainingDivergedError(SpinelineError):
    """A fold learns nothing any more, or never began to; no later epoch can mend that."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to; pseudo-Dice is nnU-Net's, on random patches, and never evidence."""

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    pseudo_dice: float
    pseudo_dice_by_label: dict[str, float]
    """Only of labels that the patches showed or the network claimed."""
    learning_rate: float
    seconds: float
    patches_per_second: float
    waiting_seconds: float
    """How long the steps waited for their batches."""
    gradient_overflows: int

    def metrics(self) -> dict[str, float]:
        """Return the numbers by the names under which they are tracked."""
        return {
            "train_loss": self.train_loss,
            "validation_loss": self.validation_loss,
            "pseudo_dice": self.pseudo_dice,
            **{f"pseudo_dice.{label}": dice for label, dice in self.pseudo_dice_by_label.items()},
            "learning_rate": self.learning_rate,
            "epoch_seconds": self.seconds,
            "patches_per_second": self.patches_per_second,
            "waiting_seconds": self.waiting_seconds,
            "gradient_overflows": float(self.gradient_overflows),
        }


def by_label(dice: list[float], labels: dict[str, Any]) -> dict[str, float]:
    """Name nnU-Net's pseudo-Dice of the foreground classes, in order of their ids; absent classes are left out."""
    names = sorted((number, name) for name, number in labels.items() if isinstance(number, int) and number > 0)
    named = zip(names, dice, strict=False)
    return {name: float(value) for (_, name), value in named if np.isfinite(value)}


def check_learning(*, fold: int, losses: list[float], pseudo_dice: list[float], by_epoch: int | None) -> None:
    """Raise TrainingDivergedError where the last loss is no number, or pseudo-Dice never left 0 by ``by_epoch``."""
    epoch = len(losses)
    if not np.isfinite(losses[-1]):
        raise TrainingDivergedError(
            f"fold {fold}: training loss is {losses[-1]} in epoch {epoch}; expected a number "
            "(a lower initial_learning_rate?)"
        )
    best = float(np.nan_to_num(pseudo_dice).max())
    if by_epoch and epoch >= by_epoch and best < _LEARNT:
        raise TrainingDivergedError(
            f"fold {fold}: pseudo-Dice never left 0 in {epoch} epochs (best {best:.4f}); "
            f"expected more than {_LEARNT} by epoch {by_epoch}, the recipe's dice_by_epoch"
        )
