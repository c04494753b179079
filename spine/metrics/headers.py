"""What the headers of two label maps say before either is read: their grids, and the memory that scoring will take."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nibabel
import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation

from spine.errors import GridMismatchError
from spine.volume.grid import Grid
from spine.volume.nifti import read_labels

_WORKER_BYTES: Final = 192 << 20
"""What a worker holds before it reads anything, and what its libraries keep."""
_SCORING_BYTES: Final = 8
"""Per voxel, both maps as uint8 included, and turned where their axes differ."""
_CHECKING_BYTES: Final = 4
"""Per voxel beside the file's own numbers while they are checked: masks, the map as uint8, the map read before."""


@dataclass(frozen=True)
class Head:
    """The grid of a label map as stored, and the bytes that reading it takes at most."""

    grid: Grid
    reading_bytes: int


def read_head(path: Path) -> Head:
    """Read a NIfTI header; where it is damaged, the error is the one that reading the whole file raises."""
    try:
        image = nibabel.load(path)
        if image.shape[3:] not in ((), (1,)) or not abs(np.linalg.det(image.affine[:3, :3])) > 0:
            raise ValueError("no volume")
        grid = Grid.of(image.shape[:3], image.affine)
        kind = np.dtype(np.float64) if _is_scaled(image) else image.get_data_dtype()
    except Exception:
        labels = read_labels(path)
        return Head(grid=labels.grid, reading_bytes=labels.array.nbytes)
    # Whether all are whole is seen by rounding a copy.
    width = kind.itemsize * (2 if kind.kind == "f" else 1) + _CHECKING_BYTES
    return Head(grid=grid, reading_bytes=math.prod(image.shape) * width)


def needed_bytes(reference: Head, prediction: Head | None) -> int:
    """Return the bytes that a worker needs at most to read two label maps, one after the other, and score them.

    Measured on 512 x 512 x 400: 3.5 bytes a voxel for uint8, 5 for int16, 11 for float32, 19 for float64.
    """
    scoring = math.prod(reference.grid.shape) * _SCORING_BYTES
    reading = max(head.reading_bytes for head in (reference, prediction) if head)
    return _WORKER_BYTES + max(scoring, reading)


def require_same_space(case: str, reference: Head, prediction: Head) -> None:
    """Raise GridMismatchError where the grids differ by more than the order and direction of their axes."""
    difference = reference.grid.difference(prediction.grid)
    if difference and reference.grid.orientation != prediction.grid.orientation:
        difference = _canonical(reference.grid).difference(_canonical(prediction.grid))
        difference = difference and f"{difference}, both in RAS order"
    if difference:
        raise GridMismatchError(f"{case} (reference)", f"{case} (prediction)", difference=difference)


def _canonical(grid: Grid) -> Grid:
    transform = io_orientation(grid.matrix)
    shape = tuple(size for _, size in sorted(zip(transform[:, 0], grid.shape, strict=True)))
    return Grid.of(shape, grid.matrix @ inv_ornt_aff(transform, grid.shape))


def _is_scaled(image: nibabel.Nifti1Image) -> bool:
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    return bool(slope != 1 or intercept != 0)
