"""All scores of one scan: overlap, names, level shift, false positives and surfaces in one value."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from spine.metrics.identification import called_labels, level_shift, localisation_mm
from spine.metrics.overlap import Comparison, bone_dice, compare, mean_dice, overlaps, present_dice
from spine.metrics.scores import LabelScore, ScanScores
from spine.metrics.summary import is_extra_vertebra
from spine.metrics.surfaces import SurfaceScores, surface_scores
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, require_one_grid


def score_scan(
    *, case: str, patient: str | None, reference: Volume, prediction: Volume | None, surfaces: bool = True
) -> ScanScores:
    """Score the prediction of one scan; None is a missing prediction, scored as an empty one and named.

    Without ``surfaces`` the surface distances, which take most of the time, stay None. Raises GridMismatchError
    where the grids differ by more than 1e-4, InvalidValueError where a volume is not a uint8 label map within
    0-25, or where surfaces are asked for on a sheared grid.
    """
    missing = prediction is None
    predicted = prediction if prediction is not None else _empty_like(reference)
    require_one_grid(reference, predicted, names=(f"{case} (reference)", f"{case} (prediction)"))
    compared = compare(reference=reference.array, prediction=predicted.array)
    between: dict[int, SurfaceScores] = {}
    if surfaces:
        between = surface_scores(case=case, reference=reference, prediction=predicted, compared=compared)
    labels = _label_scores(compared, reference.grid, between)
    present = any(score.reference_voxels for score in labels)
    extra = [score for score in labels if not score.reference_voxels]
    return ScanScores(
        case=case,
        patient=patient,
        labels=labels,
        mean_dice=mean_dice(compared.counts),
        bone_dice=bone_dice(compared.counts),
        all_correct=_all_correct(labels) if present else None,
        level_shift=level_shift(compared.counts),
        false_positive_labels=len(extra),
        false_positive_mm3=sum(score.predicted_voxels for score in extra) * reference.grid.voxel_mm3,
        missing=missing,
    )


def _label_scores(compared: Comparison, grid: Grid, surfaces: Mapping[int, SurfaceScores]) -> tuple[LabelScore, ...]:
    distances = localisation_mm(
        reference=compared.reference.centroids_mm(grid), prediction=compared.prediction.centroids_mm(grid)
    )
    cut = compared.reference.border_labels()
    called, covers = called_labels(compared.counts), called_labels(compared.counts.T)
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
            called=called.get(overlap.label),
            covers=covers.get(overlap.label),
            **asdict(surfaces.get(overlap.label, SurfaceScores())),
        )
        for overlap in overlaps(compared.counts)
    )


def _all_correct(labels: tuple[LabelScore, ...]) -> bool:
    identified = all(score.identified for score in labels if score.reference_voxels)
    extra = any(is_extra_vertebra(score) for score in labels)
    return identified and not extra


def _empty_like(volume: Volume) -> Volume:
    # Same memory order as the reference, so that flattening both stays free of copies.
    return Volume(array=np.zeros_like(volume.array), grid=volume.grid)
