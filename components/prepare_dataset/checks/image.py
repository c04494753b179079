"""Checks of the volume and of how the mask lies on it; each raises RejectedCaseError or yields a remark."""

from collections.abc import Iterator

import numpy as np

from components.prepare_dataset.checks.anatomy import Anatomy
from components.prepare_dataset.reading import Remark
from components.prepare_dataset.rejection import RejectedCaseError
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

# Scanners pad with down to -3024 HU; below that, and above metal implants, nothing in a CT is plausible.
_LOWEST_HU, _HIGHEST_HU = -4096.0, 32767.0
_CONTRAST_HU = 100.0
_BYTE = 255
_FEWEST = 2
_AXES = ("left-right", "back-front", "up-down")
_BRIGHTER_HU = 25.0
"""No mirror image of a right mask is brighter than the mask; of a wrong one, on real scans, by 60 HU and more."""
_SAMPLES = 50_000
"""Voxels whose mean stands for all: it is right to about 1 HU."""
_BONE_HU = (80.0, 1200.0)
"""A mask that lies beside the spine covers soft tissue and air; a volume without its rescale offset is 1024 too bright.
Whole vertebrae of old patients still average more than 100 HU, cortical bone included."""


def require_usable(image: Volume, labels: Volume) -> None:
    """Refuse axes that are not perpendicular, two grids, and voxels that are no HU."""
    if min(image.grid.shape) < _FEWEST:
        message = f"is one voxel thick, shape {image.grid.shape}; expected a volume"
        raise RejectedCaseError("three-dimensions", value=min(image.grid.shape), message=message)
    if not image.grid.is_orthonormal:
        message = "axes of the direction matrix are not perpendicular within 1e-4"
        raise RejectedCaseError("orthonormal-axes", value=image.grid.largest_cosine, message=message)
    difference = image.grid.difference(labels.grid)
    if difference:
        message = f"volume and mask lie on different grids: {difference}"
        raise RejectedCaseError("one-grid", value=_largest_difference(image.grid, labels.grid), message=message)
    low, high = float(image.array.min()), float(image.array.max())
    if low >= 0 and high <= _BYTE:
        message = f"voxels span {low:g} to {high:g}: a picture of 8 bits, windowed; expected a CT in HU"
        raise RejectedCaseError("hounsfield-range", value=high, message=message)
    if low < _LOWEST_HU or high > _HIGHEST_HU or high - low < _CONTRAST_HU:
        message = f"voxels span {low:g} to {high:g}; expected a CT in HU"
        raise RejectedCaseError("hounsfield-range", value=low if low < _LOWEST_HU else high, message=message)


def mask_on_bone(image: Volume, anatomy: Anatomy) -> Iterator[Remark]:
    """Say where the labelled voxels are not as bright as bone, or would be brighter were the mask mirrored."""
    bone = anatomy.runs.somewhere(most=_SAMPLES)
    weights = anatomy.runs.weights(most=_SAMPLES)
    mean = float(np.average(image.array[bone], weights=weights))
    for axis, name in enumerate(_AXES):
        turned = list(bone)
        turned[axis] = image.array.shape[axis] - 1 - turned[axis]
        mirrored = float(np.average(image.array[tuple(turned)], weights=weights))
        if mirrored > mean + _BRIGHTER_HU:
            message = f"labelled voxels average {mean:.0f} HU; {mirrored:.0f} HU were the mask mirrored {name}"
            yield Remark("mask-mirrored", mirrored - mean, message)
            return
    low, high = _BONE_HU
    if not low <= mean <= high:
        yield Remark("mask-on-bone", mean, f"labelled voxels average {mean:.0f} HU; bone has {low:g} to {high:g}")


def _largest_difference(first: Grid, second: Grid) -> float:
    if first.shape != second.shape:
        return float(max(abs(a - b) for a, b in zip(first.shape, second.shape, strict=True)))
    return float(np.abs(first.matrix - second.matrix).max())
