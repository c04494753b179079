"""The box around the bone of a label map: most of a scan is background, and is looked at only once."""

import numpy as np
from numpy.typing import NDArray

from spine.metrics.foreground import is_column_major

Box = tuple[slice, slice, slice]


def bone_box(array: NDArray[np.uint8]) -> Box | None:
    """Return the smallest box that holds every label of a map (i, j, k); None where there is none."""
    column_major = is_column_major(array)
    slowest_first = array.T if column_major else array
    # Two reductions in memory order: one along the slowest axis, one along both others.
    plane = slowest_first.max(axis=0, initial=0)
    slices = slowest_first.max(axis=(1, 2), initial=0)
    first, second, third = (_range(seen) for seen in (slices, plane.max(axis=1), plane.max(axis=0)))
    if first is None or second is None or third is None:
        return None
    return (third, second, first) if column_major else (first, second, third)


def indices_of(voxels: NDArray[np.intp], *, box: Box) -> NDArray[np.intp]:
    """Return the indices (m, 3) in the whole map of flat positions within a box."""
    inside = np.unravel_index(voxels, tuple(edge.stop - edge.start for edge in box))
    return np.stack([index + edge.start for index, edge in zip(inside, box, strict=True)], axis=1)


def _range(seen: NDArray[np.uint8]) -> slice | None:
    places = np.flatnonzero(seen)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else None
