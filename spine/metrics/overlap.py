"""Voxels in common: the joint histogram of two label maps, and every Dice that follows from it."""

from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import GridMismatchError
from spine.labels import MAX_LABEL
from spine.metrics.foreground import bone_voxels
from spine.metrics.profiles import Profiles

_LABELS: Final = MAX_LABEL + 1


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of one label: in the reference (TP + FN), in the prediction (TP + FP), in both (TP)."""

    label: int
    reference_voxels: int
    predicted_voxels: int
    common_voxels: int


@dataclass(frozen=True)
class Comparison:
    """Two label maps counted in one pass: together, and each along its axes."""

    counts: NDArray[np.int64]
    """Voxels by [reference label, predicted label], shape (26, 26)."""
    reference: Profiles
    prediction: Profiles


def compare(*, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> Comparison:
    """Count two maps of one shape in one pass; all metrics but the surface distances follow from the counts.

    Only voxels with bone in either map are counted one by one, the rest is background by subtraction.
    Raises GridMismatchError where the shapes differ, InvalidValueError where a map is not uint8 within 0-25.
    """
    if reference.shape != prediction.shape:
        difference = f"size {reference.shape} against {prediction.shape}"
        raise GridMismatchError("reference", "prediction", difference=difference)
    counts = np.zeros(_LABELS * _LABELS, dtype=np.int64)
    profiles = Profiles.empty(reference.shape), Profiles.empty(reference.shape)
    for indices, maps in bone_voxels(maps=[reference, prediction]):
        counts += np.bincount(maps[0].astype(np.uint16) * np.uint16(_LABELS) + maps[1], minlength=counts.size)
        for profile, labels in zip(profiles, maps, strict=True):
            profile.add(indices, labels)
    counts[0] = reference.size - counts[1:].sum()
    return Comparison(counts=counts.reshape(_LABELS, _LABELS), reference=profiles[0], prediction=profiles[1])


def joint_counts(*, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count voxels by [reference label, predicted label], shape (26, 26); raises as ``compare`` does."""
    return compare(reference=reference, prediction=prediction).counts


def overlaps(counts: NDArray[np.int64]) -> tuple[Overlap, ...]:
    """Return the counts of every label 1-25 that is in the reference, in the prediction, or in both."""
    reference, predicted = counts.sum(axis=1), counts.sum(axis=0)
    return tuple(
        Overlap(
            label=label,
            reference_voxels=int(reference[label]),
            predicted_voxels=int(predicted[label]),
            common_voxels=int(counts[label, label]),
        )
        for label in range(1, _LABELS)
        if reference[label] or predicted[label]
    )


def dice(*, reference_voxels: int, predicted_voxels: int, common_voxels: int) -> float | None:
    """Return 2|P∩R| / (|P| + |R|), which is 2 TP / (2 TP + FP + FN); None where both are empty."""
    total = reference_voxels + predicted_voxels
    return 2.0 * common_voxels / total if total else None


def present_dice(*, reference_voxels: int, predicted_voxels: int, common_voxels: int) -> float | None:
    """Return Dice (GT-present): None where the reference lacks the label, 0 where the prediction does."""
    if not reference_voxels:
        return None
    return dice(reference_voxels=reference_voxels, predicted_voxels=predicted_voxels, common_voxels=common_voxels)


def mean_dice(counts: NDArray[np.int64]) -> float | None:
    """Return the mean Dice (GT-present) of the labels that the reference has; None where it has none."""
    scores = (
        present_dice(
            reference_voxels=overlap.reference_voxels,
            predicted_voxels=overlap.predicted_voxels,
            common_voxels=overlap.common_voxels,
        )
        for overlap in overlaps(counts)
    )
    present = [score for score in scores if score is not None]
    return fmean(present) if present else None


def bone_dice(counts: NDArray[np.int64]) -> float | None:
    """Return the Dice of all labels merged; None where reference and prediction are both empty.

    Bone that is found under a wrong name counts as found.
    """
    return dice(
        reference_voxels=int(counts[1:].sum()),
        predicted_voxels=int(counts[:, 1:].sum()),
        common_voxels=int(counts[1:, 1:].sum()),
    )
