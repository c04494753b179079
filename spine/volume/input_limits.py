"""Whether a scan can be brought to a model's grid at all: the limits that predictions are held to everywhere."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from spine.errors import SpinelineError
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, is_placed, read_image

MAX_VOXELS = 200_000_000
"""Voxels of a scan brought to the model's spacing: 26 logits a voxel are held in memory."""
_LONGEST_EDGE_MM = 4000.0
_MOST_HU = 1e6
_SAME_SPACING = 0.01


class UnfitScanError(SpinelineError):
    """A scan comes to nothing, or to too much, at the model's spacing."""

    def __init__(self, reason: str, *, expected: str, is_too_large: bool = False, path: Path | None = None) -> None:
        self.reason, self.expected, self.is_too_large = reason, expected, is_too_large
        super().__init__(f"{path or 'the scan'}: {reason}; expected {expected}")


def read_scan(path: Path) -> Volume:
    """Read a CT volume that is to be labelled, as float32 HU.

    Raises what ``read_image`` does, and UnfitScanError where the header leaves open how the voxels lie, which a
    data set may be told beside it, or the values are no HU.
    """
    scan = read_image(path)
    require_placed(nibabel.load(path).header, path=path)
    require_hu(scan.array, path=path)
    return scan


def require_placed(header: Any, *, path: Path | None = None) -> None:
    """Raise UnfitScanError for a NIfTI header that says in no way, or in two, how the voxels lie: names hang on it."""
    if not is_placed(header):
        reason = "has no orientation in its header (qform_code and sform_code are 0)"
        raise UnfitScanError(reason, expected="a header that says which way is up", path=path)
    if min(int(header["sform_code"]), int(header["qform_code"])) <= 0:
        return
    with np.errstate(all="ignore"):
        by_sform = np.linalg.norm(header.get_sform()[:3, :3], axis=0)
        by_qform = np.asarray(header["pixdim"][1:4], dtype=np.float64)
        if not np.allclose(by_sform, by_qform, rtol=_SAME_SPACING, atol=0):
            sform, qform = _format_sizes(by_sform), _format_sizes(by_qform)
            reason = f"has voxels of {sform} mm by its sform and of {qform} mm by its qform"
            raise UnfitScanError(reason, expected="one voxel size", path=path)


def require_hu(array: NDArray[Any], *, path: Path | None = None) -> None:
    """Raise UnfitScanError for finite voxels beyond anything that a CT measures."""
    farthest = max(float(array.max(initial=0)), -float(array.min(initial=0)))
    if farthest > _MOST_HU:
        raise UnfitScanError(f"has voxels of {farthest:.3g} HU", expected=f"at most {_MOST_HU:g} either way", path=path)


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
        axis = int(resampled.argmin())
        thinnest = f"is only {edges_mm[axis]:.2g} mm thick"
        expected = f"more than half of the model's voxel, which is {spacing_mm[axis]:g} mm"
        raise UnfitScanError(thinnest, expected=expected, path=path)
    if resampled.prod() > max_voxels:
        size = f"has {resampled.prod():.3g} voxels at the model's spacing"
        raise UnfitScanError(size, expected=f"at most {max_voxels:.3g}", is_too_large=True, path=path)


def _format_sizes(sizes_mm: NDArray[np.float64]) -> str:
    return " × ".join(f"{size:.3g}" for size in sizes_mm)
