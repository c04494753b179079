"""Elements of the surfaces between labels: at which corners of the voxels they lie, and their areas in mm².

The areas are those of ``surface-distance`` 0.1 of Google DeepMind (see ``spine.metrics.surfaces``), looked up by which
of the eight voxels around a corner hold the label. Here the corners of all labels are found at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.metrics.foreground import is_column_major

_SLAB_VOXELS: Final = 1 << 22


@dataclass(frozen=True)
class SurfaceElements:
    """The surface of one label: corners of voxels, as indices of shape (n, 3), and the area at each, shape (n,)."""

    corners: NDArray[np.intp]
    """Corner (i, j, k) is the one that voxel (i, j, k) shares with those before it along every axis."""
    areas_mm2: NDArray[np.float64]


def surface_elements(
    array: NDArray[np.uint8], *, box: tuple[slice, ...] | None, spacing_mm: NDArray[np.float64]
) -> dict[int, SurfaceElements]:
    """Return by label the elements of its surface; ``box`` holds all labels of the map, None where there are none."""
    from surface_distance import lookup_tables

    if box is None:
        return {}
    table_mm2 = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    corners, codes = (np.concatenate(parts, axis=-1) for parts in zip(*_crossed(array, box), strict=True))
    surfaces = {}
    for label in range(1, MAX_LABEL + 1):
        own = np.flatnonzero(codes[label])
        if own.size:
            surfaces[label] = SurfaceElements(corners=corners[:, own].T, areas_mm2=table_mm2[codes[label, own]])
    return surfaces


def _crossed(array: NDArray[np.uint8], box: tuple[slice, ...]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """Yield, slab by slab, the corners whose eight voxels don't all hold one label: surfaces run through them.

    Each slab is (corners of shape (3, n), for every label the code of which of the eight it holds, shape (26, n)).
    """
    from surface_distance import lookup_tables

    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    if is_column_major(array):
        for corners, codes in _crossed_by_rows(array.T, box[::-1], kernel.T):
            yield corners[::-1], codes
    else:
        yield from _crossed_by_rows(array, box, kernel)


def _crossed_by_rows(
    array: NDArray[np.uint8], box: tuple[slice, ...], kernel: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    # One voxel of background around: a vertebra cut by the border is closed there.
    padded = np.pad(array[box], 1)
    origin = np.array([[side.start] for side in box])
    thickness = max(_SLAB_VOXELS // padded[0].size, 1)
    for first in range(0, len(padded) - 1, thickness):
        slab = padded[first : first + thickness + 1]
        mixed = _is_mixed(slab)
        at = np.unravel_index(np.flatnonzero(mixed), mixed.shape)
        codes = np.zeros((MAX_LABEL + 1, at[0].size), dtype=np.uint8)
        each = np.arange(at[0].size)
        for offset, weight in np.ndenumerate(kernel):
            codes[slab[tuple(index + step for index, step in zip(at, offset, strict=True))], each] += np.uint8(weight)
        yield np.stack(at) + origin + [[first], [0], [0]], codes


def _is_mixed(slab: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say of every corner, one fewer than voxels along each axis, whether its eight voxels differ."""
    low = high = slab
    for axis in range(slab.ndim):
        size = slab.shape[axis]
        ends = [(slice(None),) * axis + (part,) for part in (slice(0, size - 1), slice(1, size))]
        low, high = np.minimum(low[ends[0]], low[ends[1]]), np.maximum(high[ends[0]], high[ends[1]])
    return np.asarray(low != high)
