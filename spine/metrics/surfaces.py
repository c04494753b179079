"""Distances between surfaces: normalised surface Dice and the 95 % Hausdorff distance, by label, in mm.

Definition, tables and measures are those of ``surface-distance`` 0.1 of Google DeepMind (Nikolov et al. 2021, J. Med.
Internet Res. 23(7):e26151): surfaces run between voxels and each of their elements counts by its area in mm². Only
what feeds them is done here, for all labels at once and in less time and memory: the elements and their distances.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.metrics.overlap import Comparison
from spine.metrics.surface_elements import SurfaceElements, surface_elements
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

ROUNDING_MM: Final = 1e-6
"""Added to each tolerance: 3 mm are within 3 mm although the header rounds the spacing, or the axes are oblique."""
_PERCENTILE: Final = 95.0


@dataclass(frozen=True)
class SurfaceScores:
    """Surface distances of one label; None where the reference lacks it."""

    nsd_1_5mm: float | None = None
    """Normalised surface Dice at 1.5 mm; 0 where the prediction lacks the label."""
    nsd_3mm: float | None = None
    hd95_mm: float | None = None
    """None where the prediction lacks the label."""


_MISSED: Final = SurfaceScores(nsd_1_5mm=0.0, nsd_3mm=0.0)


def surface_scores(
    *, case: str, reference: Volume, prediction: Volume, compared: Comparison
) -> dict[int, SurfaceScores]:
    """Score the surfaces of every reference label; ``compared`` are the counts of the same two maps on one grid.

    Spacing may differ by axis, and axes may be mirrored or oblique: perpendicular ones keep distances. Raises
    InvalidValueError, with the case, where they are not.
    """
    require_perpendicular(case=case, grid=reference.grid)
    spacing_mm = np.asarray(reference.grid.spacing_mm)
    true, predicted = (
        surface_elements(volume.array, box=profiles.box(), spacing_mm=spacing_mm)
        for volume, profiles in ((reference, compared.reference), (prediction, compared.prediction))
    )
    return {
        label: _scores(surface, predicted[label], spacing_mm) if label in predicted else _MISSED
        for label, surface in true.items()
    }


def require_perpendicular(*, case: str, grid: Grid) -> None:
    """Raise InvalidValueError, with the case, where axes are slanted: spacing alone then tells no distances."""
    if not grid.is_orthonormal:
        what, found = f"largest cosine between two axes of {case}", round(grid.largest_cosine, 6)
        raise InvalidValueError(what, found, expected="perpendicular axes within 1e-4, or scores without surfaces")


def _scores(reference: SurfaceElements, prediction: SurfaceElements, spacing_mm: NDArray[np.float64]) -> SurfaceScores:
    import surface_distance

    to_prediction, reference_areas = _sorted_distances(reference, prediction, spacing_mm)
    to_reference, predicted_areas = _sorted_distances(prediction, reference, spacing_mm)
    distances = {
        "distances_gt_to_pred": to_prediction,
        "distances_pred_to_gt": to_reference,
        "surfel_areas_gt": reference_areas,
        "surfel_areas_pred": predicted_areas,
    }
    nsd_1_5mm, nsd_3mm = (
        float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm + ROUNDING_MM))
        for tolerance_mm in (1.5, 3.0)
    )
    hd95_mm = float(surface_distance.compute_robust_hausdorff(distances, _PERCENTILE))
    return SurfaceScores(nsd_1_5mm=nsd_1_5mm, nsd_3mm=nsd_3mm, hd95_mm=hd95_mm)


def _sorted_distances(
    start: SurfaceElements, end: SurfaceElements, spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance in mm from each element of ``start`` to ``end``, and its area in mm², sorted."""
    from scipy.spatial import cKDTree

    tree = cKDTree(end.corners * spacing_mm, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(start.corners * spacing_mm)
    # Of differences of whole numbers, so that equal distances are equal wherever they lie.
    distances = np.sqrt(np.square((end.corners[nearest] - start.corners) * spacing_mm).sum(axis=1))
    order = np.lexsort((start.areas_mm2, distances))
    return distances[order], start.areas_mm2[order]
