"""Compiled sampling of images and labels at the points of a grid, bit for bit as torch and the stock vote round.

torch's trilinear ``grid_sample`` of a volume is float32 code that finds the place, then eight weights, then adds eight
products in a fixed order, none of them fused. These kernels make the same operations in the same order. Volumes are
(z, y, x). Points are rows of x, y, z from -1 to 1 between the outer faces of the outer voxels, torch's
``align_corners=False``.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.volume.compiled import compiled

_ONE: Final = np.float32(1)
_TWO: Final = np.float32(2)
_SCALE: Final = np.float32(1000)
_HALF: Final = np.float32(500)
_OUTSIDE: Final = np.float32(-1)
_NO_LABEL: Final = -(2**31)


@compiled
def grid_points(
    offsets: NDArray[np.float32], center: NDArray[np.float32], half_size: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Turn rows of z, y, x in voxels from ``center``, itself from the volume's middle, into rows of x, y, z."""
    points = np.empty_like(offsets)
    for row in range(len(offsets)):
        for axis in range(3):
            points[row, 2 - axis] = (offsets[row, axis] + center[axis]) / half_size[axis]
    return points


@compiled
def sample_image(image: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Interpolate ``image`` at the points; zero lies outside."""
    depth, height, width = image.shape
    sampled = np.empty(len(points), dtype=np.float32)
    for row in range(len(points)):
        x, y, z = _place(points[row, 0], width), _place(points[row, 1], height), _place(points[row, 2], depth)
        x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        is_inside = 0 <= x0 < width - 1 and 0 <= y0 < height - 1 and 0 <= z0 < depth - 1
        total = np.float32(0)
        for corner in range(8):
            xi, yi, zi = x0 + (corner & 1), y0 + (corner >> 1 & 1), z0 + (corner >> 2)
            if is_inside or (0 <= xi < width and 0 <= yi < height and 0 <= zi < depth):
                total += image[np.uint64(zi), np.uint64(yi), np.uint64(xi)] * _weight(corner, x, y, z)
        sampled[row] = total
    return sampled


@compiled
def sample_labels(
    labels: NDArray[np.int16],
    points: NDArray[np.float32],
    pad_label: int,
    reaches_outside: bool,
    pair: tuple[int, int],
) -> NDArray[np.int16]:
    """Return the label with most weight at each point: the stock arg-max, without a volume of scores per label.

    ``pad_label`` lies outside, and counts if ``reaches_outside``. A ``pair`` of two different labels says that there
    are no others. Where the eight corners of a point's cell agree, no other label has a score.
    """
    depth, height, width = labels.shape
    sampled = np.empty(len(points), dtype=np.int16)
    corner_labels, weights = np.empty(8, dtype=np.int64), np.empty(8, dtype=np.float32)
    for row in range(len(points)):
        x, y, z = _place(points[row, 0], width), _place(points[row, 1], height), _place(points[row, 2], depth)
        x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        is_inside = 0 <= x0 < width - 1 and 0 <= y0 < height - 1 and 0 <= z0 < depth - 1
        if is_inside and _agrees(labels, z0, y0, x0):
            sampled[row] = labels[z0, y0, x0]
            continue
        for corner in range(8):
            xi, yi, zi = x0 + (corner & 1), y0 + (corner >> 1 & 1), z0 + (corner >> 2)
            if is_inside or (0 <= xi < width and 0 <= yi < height and 0 <= zi < depth):
                corner_labels[corner], weights[corner] = labels[zi, yi, xi], _weight(corner, x, y, z)
            else:
                corner_labels[corner], weights[corner] = pad_label, _OUTSIDE
        near = (int(np.rint(x)) - x0) + 2 * (int(np.rint(y)) - y0) + 4 * (int(np.rint(z)) - z0)
        padding = pad_label if reaches_outside else _NO_LABEL
        sampled[row] = _vote(corner_labels, weights, corner_labels[near], padding, pair)
    return sampled


@compiled
def _agrees(labels: NDArray[np.int16], z: int, y: int, x: int) -> bool:
    first, differing = labels[z, y, x], 0
    for corner in range(1, 8):
        zi, yi, xi = np.uint64(z + (corner >> 2)), np.uint64(y + (corner >> 1 & 1)), np.uint64(x + (corner & 1))
        differing |= first ^ labels[zi, yi, xi]
    return differing == 0


@compiled
def _vote(
    labels: NDArray[np.int64], weights: NDArray[np.float32], nearest: int, padding: int, pair: tuple[int, int]
) -> int:
    """Settle one point: the highest score wins; among equals the nearest voxel's label, else the lowest."""
    if pair[0] != pair[1]:
        score = _score(labels, weights, pair[1], padding)
        if score == _HALF:
            return nearest
        return pair[1] if score > _HALF else pair[0]
    best, winner = np.float32(-1), nearest
    for corner in range(8):
        label = labels[corner]
        if weights[corner] == _OUTSIDE and label != padding:
            continue
        score = _score(labels, weights, label, padding)
        if score > best or (score == best and winner != nearest and (label < winner or label == nearest)):
            best, winner = score, label
    return winner


@compiled
def _score(labels: NDArray[np.int64], weights: NDArray[np.float32], label: int, padding: int) -> np.float32:
    """Return a label's interpolated indicator times 1000 in float16; the padding's is 1 less what it lacks inside."""
    total = np.float32(0)
    for corner in range(8):
        if weights[corner] != _OUTSIDE and (labels[corner] == label) != (label == padding):
            total += _SCALE * weights[corner]
    return _to_half(_SCALE - total if label == padding else total)


@compiled
def _to_half(value: np.float32) -> np.float32:
    """Round to float16's 11 bits, ties to even; below 2^-14, where no winner's score is, float16 itself is coarser."""
    bits = np.float32(value).view(np.uint32)
    bits += np.uint32(0xFFF) + (bits >> np.uint32(13) & np.uint32(1))
    return np.uint32(bits & np.uint32(0xFFFFE000)).view(np.float32)


@compiled
def _place(coordinate: np.float32, size: int) -> np.float32:
    """Return where a coordinate from -1 to 1 lies on an axis, in voxels."""
    return ((coordinate + _ONE) * np.float32(size) - _ONE) / _TWO


@compiled
def _weight(corner: int, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """Return the weight of one corner of the cell around a place: bit 0 of ``corner`` is x, bit 1 y, bit 2 z."""
    return _share(x, corner & 1) * _share(y, corner & 2) * _share(z, corner & 4)


@compiled
def _share(place: np.float32, is_upper: int) -> np.float32:
    low: np.float32 = np.floor(place)
    return place - low if is_upper else (low + _ONE) - place


@compiled
def kinds(labels: NDArray[np.int16], pad_label: int, reaches_outside: bool) -> tuple[int, int, int]:
    """Return the number of labels, 3 for any more, the padding counted if reached; then the lower and higher of two."""
    first = pad_label if reaches_outside else int(labels.flat[0])
    second = first
    for label in labels.flat:
        if label not in (first, second):
            if first != second:
                return 3, first, second
            second = int(label)
    return (1 if first == second else 2), min(first, second), max(first, second)
