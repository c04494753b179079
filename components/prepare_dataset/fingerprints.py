"""What a scan's vertebrae look like in few numbers, so that it is known under noise, crop and resampling."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from components.prepare_dataset.checks.anatomy import Anatomy
from spine.labels import MAX_LABEL
from spine.volume.nifti import Volume

_CELLS: Final = 9
_CELL_MM: Final = 5.0
_POINTS_A_CELL: Final = 3
_HU: Final = (-200.0, 800.0)
_LEAST_CELLS: Final = 0.6
"""Of one vertebra's cells: with fewer in common, nothing can be said."""
SAME_SCAN: Final = 0.965
"""Correlation above which two scans count as one. Measured on phantoms at 2 mm: copies with 20 HU of noise, cropped,
moved or resampled to 2.5 mm reach 0.966-1, other patients 0.4-0.951; scans of one patient up to 0.99."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Mean HU in 9 × 9 × 9 cells of 5 mm about the centroid of each label; NaN outside the scan. Shape (n, 729)."""

    labels: tuple[int, ...]
    cells: NDArray[np.float32]


@dataclass(frozen=True)
class Likeness:
    """Two cases, the first by name first, and the correlation of their vertebrae."""

    first: str
    second: str
    correlation: float


def fingerprint(image: Volume, anatomy: Anatomy) -> Fingerprint:
    """Take the fingerprint of a canonical CT: of its whole vertebrae, or of the cut ones where none is whole."""
    whole = [level for level in anatomy.levels.values() if not level.at_border]
    chosen = whole or list(anatomy.levels.values())
    to_index = np.linalg.inv(image.grid.matrix)
    cells = [_cells(image, to_index[:3, :3] @ level.centroid_mm + to_index[:3, 3]) for level in chosen]
    return Fingerprint(labels=tuple(level.label for level in chosen), cells=np.stack(cells))


def alike(prints: Mapping[str, Fingerprint], *, threshold: float = SAME_SCAN) -> list[Likeness]:
    """Return the pairs of cases whose vertebrae of the same names correlate above ``threshold``."""
    names = sorted(prints)
    sums = np.zeros((6, len(names), len(names)), dtype=np.float32)
    for label in range(1, MAX_LABEL + 1):
        rows = [(index, prints[name].labels.index(label)) for index, name in enumerate(names)
                if label in prints[name].labels]  # fmt: skip
        if len(rows) > 1:
            members = np.array([index for index, _ in rows])
            values = np.stack([prints[names[index]].cells[row] for index, row in rows])
            sums[:, members[:, None], members[None, :]] += _masked_sums(values)
    correlation = _correlation(sums)
    found = np.argwhere(np.triu(correlation > threshold, k=1))
    return [Likeness(names[a], names[b], float(correlation[a, b])) for a, b in found]


def _cells(image: Volume, centre: NDArray[np.float64]) -> NDArray[np.float32]:
    points = _CELLS * _POINTS_A_CELL
    offsets_mm = (np.arange(points) - (points - 1) / 2) * _CELL_MM / _POINTS_A_CELL
    at = [middle + offsets_mm / step for middle, step in zip(centre, image.grid.spacing_mm, strict=True)]
    box = tuple(slice(max(int(axis[0]), 0), max(int(axis[-1]) + 2, 0)) for axis in at)
    near = np.clip(image.array[box].astype(np.float32), *_HU)
    inner = np.meshgrid(*(axis - part.start for axis, part in zip(at, box, strict=True)), indexing="ij")
    values = map_coordinates(near, inner, order=1, mode="constant", cval=np.nan)
    # A cell that lies partly outside is unknown: the mean of it is NaN.
    means: NDArray[np.float32] = values.reshape((_CELLS, _POINTS_A_CELL) * 3).mean(axis=(1, 3, 5)).reshape(-1)
    return means


def _masked_sums(values: NDArray[np.float32]) -> NDArray[Any]:
    """Return, for every pair of rows, n, Σx, Σy, Σxy, Σx², Σy² over the cells that both know; shape (6, n, n)."""
    known = np.isfinite(values).astype(np.float32)
    # In units in which sums of thousands of squares stay exact enough in float32.
    x = np.where(known > 0, values / 100, 0).astype(np.float32)
    squares = x * x
    sum_x, sum_xx = x @ known.T, squares @ known.T
    return np.stack([known @ known.T, sum_x, sum_x.T, x @ x.T, sum_xx, sum_xx.T])


def _correlation(sums: NDArray[np.float32]) -> NDArray[np.float64]:
    n, x, y, xy, xx, yy = sums.astype(np.float64)
    enough = n >= _LEAST_CELLS * _CELLS**3
    n = np.maximum(n, 1)
    spread = np.sqrt(np.maximum(xx - x * x / n, 0) * np.maximum(yy - y * y / n, 0))
    return np.where(enough & (spread > 0), (xy - x * y / n) / np.maximum(spread, 1e-9), 0.0)
