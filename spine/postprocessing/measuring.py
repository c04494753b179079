"""Size, place and reach of every piece of bone, in one pass through its voxels."""

# mypy: disallow-untyped-calls=False
# What numba compiles takes its types from its first call.

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.cropping import Box
from spine.volume.compiled import compiled
from spine.volume.grid import Grid


class Measures(NamedTuple):
    """Of n pieces; indices are those of the whole map."""

    voxels: NDArray[np.int64]
    centres: NDArray[np.float64]
    """Mean index (n, 3)."""
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    """Least and greatest index (n, 3), both within the piece."""
    top_mm: NDArray[np.float64]
    bottom_mm: NDArray[np.float64]
    """RAS+ z of the highest and the lowest voxel centre, on an oblique grid as well."""


def measured(voxels: NDArray[np.intp], owners: NDArray[np.int32], *, count: int, grid: Grid, box: Box) -> Measures:
    """Measure ``count`` pieces; ``voxels`` (m,) are flat C-order positions within ``box``, ``owners`` their pieces."""
    sizes, sums = np.zeros(count, dtype=np.int64), np.zeros((count, 3), dtype=np.int64)
    low, high = np.full((count, 3), np.iinfo(np.int64).max), np.full((count, 3), -1, dtype=np.int64)
    top, bottom = np.full(count, -np.inf), np.full(count, np.inf)
    start = np.array([edge.start for edge in box])
    shape = np.array([edge.stop for edge in box]) - start
    _measure(voxels, owners, start, shape, grid.matrix[2], sizes, sums, low, high, top, bottom)
    return Measures(voxels=sizes, centres=sums / sizes[:, None], low=low, high=high, top_mm=top, bottom_mm=bottom)


@compiled
def _measure(voxels, owners, start, shape, rise, sizes, sums, low, high, top, bottom):  # type: ignore[no-untyped-def]
    index = np.empty(3, np.int64)
    for number in range(len(voxels)):
        owner, rest = owners[number], voxels[number]
        height = rise[3]
        for axis in range(2, -1, -1):
            index[axis] = start[axis] + rest % shape[axis]
            rest //= shape[axis]
        for axis in range(3):
            height += rise[axis] * index[axis]
            sums[owner, axis] += index[axis]
            low[owner, axis] = min(low[owner, axis], index[axis])
            high[owner, axis] = max(high[owner, axis], index[axis])
        sizes[owner] += 1
        top[owner], bottom[owner] = max(top[owner], height), min(bottom[owner], height)
