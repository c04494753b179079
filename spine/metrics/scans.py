"""All scores of one scan: overlap, identification, level shift and false positives in one value."""

from statistics import fmean
from typing import Final

import numpy as np

from spine.metrics.identification import border_labels, centroids_mm, level_shift, localisation_mm
from spine.metrics.overlap import Overlap, bone_dice, joint_counts, overlaps, present_dice
from spine.metrics.scores import LabelScore, ScanScores
from spine.volume.nifti import Volume, require_one_grid

EXTRA_VOXELS: Final = 500
"""A label that the reference lacks is an extra vertebra above this many voxels; below, it is a fragment."""


def score_scan(*, case: str, patient: str | None, reference: Volume, prediction: Volume | None) -> ScanScores:
    """Score the prediction of one scan; None is a missing prediction, scored as an empty one and named.

    Raises GridMismatchError where the grids differ by more than 1e-4, InvalidValueError where a volume is not
    a uint8 label map within 0-25.
    """
    missing = prediction is None
    predicted = prediction if prediction is not None else _empty_like(reference)
    require_one_grid(reference, predicted, names=(f"{case} (reference)", f"{case} (prediction)"))
    counts = joint_counts(reference=reference.array, prediction=predicted.array)
    labels = _label_scores(reference=reference, prediction=predicted, counted=overlaps(counts))
    present = [score.dice for score in labels if score.dice is not None]
    extra = [score for score in labels if not score.reference_voxels]
    return ScanScores(
        case=case,
        patient=patient,
        labels=labels,
        mean_dice=fmean(present) if present else None,
        bone_dice=bone_dice(counts),
        all_correct=_all_correct(labels) if present else None,
        level_shift=level_shift(counts),
        false_positive_labels=len(extra),
        false_positive_mm3=sum(score.predicted_voxels for score in extra) * reference.grid.voxel_mm3,
        missing=missing,
    )


def _label_scores(*, reference: Volume, prediction: Volume, counted: tuple[Overlap, ...]) -> tuple[LabelScore, ...]:
    distances = localisation_mm(reference=centroids_mm(reference), prediction=centroids_mm(prediction))
    cut = border_labels(reference.array)
    return tuple(
        LabelScore(
            label=overlap.label,
            reference_voxels=overlap.reference_voxels,
            predicted_voxels=overlap.predicted_voxels,
            common_voxels=overlap.common_voxels,
            dice=present_dice(
                reference_voxels=overlap.reference_voxels,
                predicted_voxels=overlap.predicted_voxels,
                common_voxels=overlap.common_voxels,
            ),
            at_border=overlap.label in cut,
            identified=distances[overlap.label] is not None if overlap.reference_voxels else None,
            localisation_mm=distances.get(overlap.label),
        )
        for overlap in counted
    )


def _all_correct(labels: tuple[LabelScore, ...]) -> bool:
    identified = all(score.identified for score in labels if score.reference_voxels)
    extra = any(not score.reference_voxels and score.predicted_voxels > EXTRA_VOXELS for score in labels)
    return identified and not extra


def _empty_like(volume: Volume) -> Volume:
    # Same memory order as the reference, so that flattening both stays free of copies.
    return Volume(array=np.zeros_like(volume.array), grid=volume.grid)
