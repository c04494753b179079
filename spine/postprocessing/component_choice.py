"""For which labels the largest component alone is better, decided on the folds as nnU-Net decides it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.labels import NAMES
from spine.postprocessing.components import ComponentCounts


@dataclass(frozen=True)
class ComponentChoice:
    """Whether the largest component of all bone is kept, and then the labels whose largest component is."""

    largest_bone: bool
    labels: tuple[int, ...]


def choose_components(
    cases: Sequence[ComponentCounts], *, largest_bone: Sequence[ComponentCounts] | None = None
) -> ComponentChoice:
    """Choose by mean Dice over the fold cases, from counts alone, as nnU-Net's ``determine_postprocessing`` does.

    A label is chosen where its mean Dice rises. With ``largest_bone``, the counts of the same cases after
    ``keep_largest_bone``, that step is tried first: it is kept where the mean over labels rises and no label's
    falls. Left out, it is never chosen, which is what a spine wants: a gap between two vertebrae must not cost
    the smaller half. Unlike nnU-Net a label that no case holds is left out of the mean instead of making it NaN.
    Raises InvalidValueError without cases.
    """
    if not cases:
        raise InvalidValueError("fold cases", 0, expected="at least one case to choose components on")
    before = _mean_dice([case.plain for case in cases])
    source, chosen = cases, False
    if largest_bone is not None:
        after = _mean_dice([case.plain for case in largest_bone])
        chosen = bool(np.nanmean(after) > np.nanmean(before) and not (after < before).any())
        source, before = (largest_bone, after) if chosen else (cases, before)
    kept = _mean_dice([case.kept for case in source])
    labels = tuple(label for label in NAMES if kept[label] > before[label])
    return ComponentChoice(largest_bone=chosen, labels=labels)


def _mean_dice(counts: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return by label, shape (26,), the mean over cases that hold it anywhere; NaN for background and absent ones."""
    reference, predicted, common = np.moveaxis(np.stack(counts), 2, 0)
    total = reference + predicted
    held = total > 0
    dice = np.divide(2.0 * common, total, out=np.zeros(total.shape), where=held)
    cases = held.sum(axis=0)
    mean: NDArray[np.float64] = np.divide(dice.sum(axis=0), cases, out=np.full(cases.shape, np.nan), where=cases > 0)
    mean[0] = np.nan
    return mean
