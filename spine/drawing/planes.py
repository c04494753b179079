"""A scan cut through its spine: a sagittal and a coronal plane as a radiologist holds them, at a chosen scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from spine.volume.nifti import Volume, to_canonical

_MARGIN_MM = 22.0


@dataclass(frozen=True)
class Plane:
    """One slice: arrays of shape (rows, columns), superior in row 0; ``sides`` letters its left and right edge."""

    name: str
    sides: tuple[str, str]
    image: NDArray[Any]
    reference: NDArray[np.uint8]
    prediction: NDArray[np.uint8] | None
    row_mm: float
    column_mm: float

    @property
    def height_mm(self) -> float:
        """Extent from superior to inferior in mm."""
        return self.row_mm * len(self.image)

    @property
    def width_mm(self) -> float:
        """Extent from left to right of the picture in mm."""
        return self.column_mm * int(self.image.shape[1])

    def sampled(self, *, pixels_per_mm: float) -> "Plane":
        """Resample to square pixels: the image linearly, the labels by nearest neighbour, so voxels stay visible."""
        rows = _centres(self.image.shape[0], self.row_mm, pixels_per_mm)
        columns = _centres(self.image.shape[1], self.column_mm, pixels_per_mm)
        grid = np.meshgrid(rows, columns, indexing="ij")
        near = np.ix_(np.rint(rows).astype(int), np.rint(columns).astype(int))
        return Plane(
            name=self.name,
            sides=self.sides,
            image=map_coordinates(self.image.astype(np.float32), grid, order=1, mode="nearest"),
            reference=self.reference[near],
            prediction=None if self.prediction is None else self.prediction[near],
            row_mm=1 / pixels_per_mm,
            column_mm=1 / pixels_per_mm,
        )


def cut(*, image: Volume, reference: Volume, prediction: Volume | None) -> tuple[Plane, Plane]:
    """Return the sagittal and the coronal plane with most label voxels, cropped to the spine and a margin.

    Anterior is left in the sagittal plane, the patient's right is left in the coronal one.
    """
    hu, labels = to_canonical(image).array, to_canonical(reference).array
    guess = None if prediction is None else to_canonical(prediction).array
    spacing = to_canonical(reference).grid.spacing_mm
    marked = labels > 0 if guess is None else (labels > 0) | (guess > 0)
    box = _box(marked, spacing)
    hu, labels, guess = hu[box], labels[box], None if guess is None else guess[box]
    bone = labels > 0 if labels.any() else marked[box]
    across = int(bone.sum(axis=(1, 2)).argmax())
    depth = int(bone.sum(axis=(0, 2)).argmax())

    def plane(name: str, sides: tuple[str, str], index: tuple[Any, ...], column_mm: float) -> Plane:
        return Plane(
            name=name,
            sides=sides,
            image=_upright(hu[index]),
            reference=_upright(labels[index]),
            prediction=None if guess is None else _upright(guess[index]),
            row_mm=spacing[2],
            column_mm=column_mm,
        )

    return (
        plane("sagittal", ("A", "P"), (across, slice(None), slice(None)), spacing[1]),
        plane("coronal", ("R", "L"), (slice(None), depth, slice(None)), spacing[0]),
    )


def _upright(slab: NDArray[Any]) -> NDArray[Any]:
    # From (right or anterior +, superior +) to rows that go down and columns that go to the viewer's right.
    return np.ascontiguousarray(slab.T[::-1, ::-1])


def _box(marked: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    if not marked.any():
        return (slice(None), slice(None), slice(None))
    bounds = []
    for axis, step in enumerate(spacing_mm):
        hit = np.flatnonzero(marked.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = round(_MARGIN_MM / step)
        bounds.append(slice(max(int(hit[0]) - margin, 0), int(hit[-1]) + margin + 1))
    return (bounds[0], bounds[1], bounds[2])


def _centres(size: int, step_mm: float, pixels_per_mm: float) -> NDArray[np.float64]:
    """Return, for every pixel along an axis, where its centre lies in voxels."""
    count = max(round(size * step_mm * pixels_per_mm), 1)
    centres = (np.arange(count) + 0.5) * size / count - 0.5
    return np.clip(centres, 0, size - 1)
