"""The part of an image that is not zero, found as nnU-Net finds it: zeros enclosed by the rest belong to it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spine.volume.compiled import compiled

Box = list[list[int]]
"""Half-open ranges [start, end) along k, j, i."""


def outside_zeros(data: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Mark the zeros of an image of shape (c, k, j, i) that reach its border, as (k, j, i); None where none does.

    A voxel is zero where all channels are; zeros connect by their faces. What is not marked is the mask that
    ``scipy.ndimage.binary_fill_holes`` makes of the voxels that are not zero.
    """
    # Fresh zeros take no memory until they are written, and few images have many of these.
    outside = np.zeros(data.shape[1:], dtype=np.bool_)
    return outside if _flood(np.ascontiguousarray(data), outside) else None


def content_box(mask: NDArray[np.bool_], *, background: bool = False) -> Box:
    """Return the box around what is not background in a mask (k, j, i); the whole of it where nothing is."""
    box = []
    for axis, size in enumerate(mask.shape):
        planes = np.moveaxis(mask, axis, 0)
        start = next((place for place in range(size) if (planes[place] != background).any()), None)
        if start is None:
            return [[0, edge] for edge in mask.shape]
        end = next(place for place in range(size, 0, -1) if (planes[place - 1] != background).any())
        box.append([start, end])
    return box


def slices_of(box: Box) -> tuple[slice, ...]:
    """Return a box as an index."""
    return tuple(slice(start, end) for start, end in box)


@compiled
def _flood(data, outside):  # type: ignore[no-untyped-def]
    """Mark every zero that reaches the border, run by run along i; return how many do."""
    _, depth, height, width = data.shape
    stack = np.empty(1024, dtype=np.int64)
    count = 0
    for k in range(depth):
        for j in range(height):
            is_face = k == 0 or k == depth - 1 or j == 0 or j == height - 1
            step = 1 if is_face else max(width - 1, 1)
            for i in range(0, width, step):
                if _is_new(data, outside, k, j, i):
                    stack[0] = (k * height + j) * width + i
                    stack, marked = _fill(data, outside, stack)
                    count += marked
    return count


@compiled
def _is_new(data, outside, k, j, i):  # type: ignore[no-untyped-def]
    is_zero = not outside[k, j, i]
    for channel in range(data.shape[0]):
        is_zero = is_zero and data[channel, k, j, i] == 0
    return is_zero


@compiled
def _fill(data, outside, stack):  # type: ignore[no-untyped-def]
    _, depth, height, width = data.shape
    size, count = 1, 0
    while size:
        size -= 1
        row, i = stack[size] // width, stack[size] % width
        k, j = row // height, row % height
        if not _is_new(data, outside, k, j, i):
            continue
        start, end = i, i + 1
        while start > 0 and _is_new(data, outside, k, j, start - 1):
            start -= 1
        while end < width and _is_new(data, outside, k, j, end):
            end += 1
        for place in range(start, end):
            outside[k, j, place] = True
        count += end - start
        for side in range(4):
            next_k, next_j = k + (side == 0) - (side == 1), j + (side == 2) - (side == 3)
            if next_k < 0 or next_k == depth or next_j < 0 or next_j == height:
                continue
            was_new = False
            for place in range(start, end):
                is_new = _is_new(data, outside, next_k, next_j, place)
                if is_new and not was_new:
                    if size == len(stack):
                        stack = _twice(stack)
                    stack[size] = (next_k * height + next_j) * width + place
                    size += 1
                was_new = is_new
    return stack, count


@compiled
def _twice(stack):  # type: ignore[no-untyped-def]
    longer = np.empty(2 * len(stack), dtype=np.int64)
    for place in range(len(stack)):
        longer[place] = stack[place]
    return longer
