"""Whether a scan can be brought to a model's grid at all: the limits that predictions are held to everywhere."""

from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation

from spine.errors import SpinelineError
from spine.volume.grid import Grid

MAX_VOXELS = 200_000_000
"""Voxels of a scan brought to the model's spacing: 26 logits a voxel are held in memory."""
_LONGEST_EDGE_MM = 4000.0


class UnfitScanError(SpinelineError):
    """A scan comes to nothing, or to too much, at the model's spacing."""

    def __init__(self, reason: str, *, expected: str, is_too_large: bool = False, path: Path | None = None) -> None:
        self.reason, self.expected, self.is_too_large = reason, expected, is_too_large
        super().__init__(f"{path or 'the scan'}: {reason}; expected {expected}")


def require_fitting(
    grid: Grid, *, spacing_mm: tuple[float, float, float], max_voxels: int = MAX_VOXELS, path: Path | None = None
) -> None:
    """Raise UnfitScanError for a grid that can't be resampled to ``spacing_mm`` (canonical axes, mm)."""
    if not grid.is_orthonormal:
        raise UnfitScanError(
            "has axes that are not perpendicular", expected="perpendicular axes within 1e-4", path=path
        )
    edges_mm = np.zeros(3)
    canonical_axis = io_orientation(grid.matrix)[:, 0].astype(int)
    edges_mm[canonical_axis] = np.multiply(grid.shape, grid.spacing_mm)
    if edges_mm.max() > _LONGEST_EDGE_MM:
        longest = f"is {edges_mm.max():.0f} mm long"
        raise UnfitScanError(longest, expected=f"at most {_LONGEST_EDGE_MM:.0f} mm", path=path)
    resampled = np.round(edges_mm / np.asarray(spacing_mm))
    if resampled.min() < 1:
        thinnest = f"is only {edges_mm.min():.2g} mm thick"
        raise UnfitScanError(thinnest, expected=f"at least the model's voxel, {max(spacing_mm):g} mm", path=path)
    if resampled.prod() > max_voxels:
        size = f"has {resampled.prod():.3g} voxels at the model's spacing"
        raise UnfitScanError(size, expected=f"at most {max_voxels:.3g}", is_too_large=True, path=path)
