"""Resampling of images and label maps as scikit-image's ``resize`` does it, in one pass and with little memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from skimage.transform import resize

from spine.volume.compiled import compiled

Shape = tuple[int, int, int]
Normalize = Callable[[NDArray[Any]], NDArray[np.float32]]

_NEGLIGIBLE = 1e-9
"""Weights of a spline below this change no float32, and their products are denormals, which cost 15 times as much."""
_ROWS_A_BAND = 64
_BANDS_KEPT = 16
_SLAB_VOXELS = 2 << 20


def resample_labels(labels: NDArray[Any], shape: Shape, *, slices_along: int | None = None) -> NDArray[Any]:
    """Resample a label map of shape (k, j, i) linearly: every voxel takes the label with the largest score.

    A label's score is the trilinear weight of the corners that bear it, added up in scipy's order, so that ties are
    the same ties. Of labels with equal scores the nearest neighbour's wins, else the smallest: the rule of
    batchgenerators' ``resize_segmentation`` (0.25.5) of order 1. With ``slices_along``, that axis is not
    interpolated but takes the nearest slice, as nnU-Net's ``separate_z`` does.
    """
    shape_pairs = enumerate(zip(labels.shape, shape, strict=True))
    tables = [(_nearest if axis == slices_along else _linear)(old, new) for axis, (old, new) in shape_pairs]
    resampled = np.empty(shape, dtype=labels.dtype)
    corners, weights = zip(*tables, strict=True)
    _vote(np.ascontiguousarray(labels), *corners, *weights, resampled)  # type: ignore[call-arg]  # three tables
    return resampled


def resample_image(
    image: NDArray[Any],
    shape: Shape,
    *,
    order: int,
    slices_along: int | None = None,
    normalize: Normalize,
) -> NDArray[np.float32]:
    """Resample an image of shape (k, j, i) with splines of ``order`` and clip it to its own range.

    ``normalize`` turns some slices of the image into float32; it is called slab by slab, so that no second copy of
    the image is held. With ``slices_along``, each slice across that axis is resampled and clipped on its own, and
    the nearest is taken. A spline's zoom is linear along each axis: here it is three products with band matrices.
    """
    if slices_along is None:
        inner, (low, high) = _in_slices(image, shape[1:], order=order, normalize=normalize, is_clipped=False)
        return _along_first(inner, shape[0], order=order, low=low, high=high)
    sliced = np.moveaxis(image, slices_along, 0)
    rows, columns = (size for axis, size in enumerate(shape) if axis != slices_along)
    inner, _ = _in_slices(sliced, (rows, columns), order=order, normalize=normalize, is_clipped=True)
    nearest = _nearest(len(sliced), shape[slices_along])[0][0]
    return np.ascontiguousarray(np.moveaxis(inner.numpy()[nearest].astype(np.float32), 0, slices_along))


def _in_slices(
    image: NDArray[Any], size: tuple[int, ...], *, order: int, normalize: Normalize, is_clipped: bool
) -> tuple[torch.Tensor, tuple[float, float]]:
    """Resample the two inner axes as float64; return the range of the normalized image beside the result."""
    columns, rows = (_Bands.of(image.shape[axis], size[axis - 1], order=order) for axis in (2, 1))
    resampled = torch.empty((len(image), *size), dtype=torch.float64)
    step = max(_SLAB_VOXELS // max(image[0].size, 1), 1)
    low, high = np.inf, -np.inf
    for start in range(0, len(image), step):
        slab = torch.from_numpy(np.ascontiguousarray(normalize(image[start : start + step])))
        lows, highs = (bound[:, None, None] for bound in slab.flatten(1).aminmax(dim=1))
        low, high = min(low, float(lows.min())), max(high, float(highs.max()))
        zoomed = rows.along_rows(columns.along_columns(slab.double()))
        resampled[start : start + step] = zoomed.clamp(lows, highs) if is_clipped else zoomed
    return resampled, (low, high)


def _along_first(inner: torch.Tensor, size: int, *, order: int, low: float, high: float) -> NDArray[np.float32]:
    resampled = np.empty((size, *inner.shape[1:]), dtype=np.float32)
    flat, flat_resampled = inner.flatten(1), torch.from_numpy(resampled).flatten(1)
    for rows, columns, weights in _Bands.of(len(inner), size, order=order).blocks:
        flat_resampled[rows] = (weights @ flat[columns]).clamp_(low, high).float()
    return resampled


@dataclass(frozen=True)
class _Bands:
    """A zoom along one axis: blocks of rows of its matrix, each with the columns that are not zero."""

    new: int
    blocks: tuple[tuple[slice, slice, torch.Tensor], ...]

    @classmethod
    @lru_cache(maxsize=_BANDS_KEPT)
    def of(cls, old: int, new: int, *, order: int) -> Self:
        """Return the zoom; most scans of a scanner are of one size, and making it takes as long as using it."""
        matrix = _matrix(old, new, order=order)
        matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
        blocks = []
        for start in range(0, new, _ROWS_A_BAND):
            band = matrix[start : start + _ROWS_A_BAND]
            used = np.flatnonzero(band.any(axis=0))
            columns = slice(int(used[0]), int(used[-1]) + 1)
            blocks.append((slice(start, start + len(band)), columns, torch.from_numpy(band[:, columns].copy())))
        return cls(new=new, blocks=tuple(blocks))

    def along_columns(self, slab: torch.Tensor) -> torch.Tensor:
        lines = slab.flatten(0, 1)
        zoomed = slab.new_empty((len(lines), self.new))
        for rows, columns, weights in self.blocks:
            zoomed[:, rows] = lines[:, columns] @ weights.T
        return zoomed.view(*slab.shape[:2], self.new)

    def along_rows(self, slab: torch.Tensor) -> torch.Tensor:
        zoomed = slab.new_empty((slab.shape[0], self.new, slab.shape[2]))
        for rows, columns, weights in self.blocks:
            zoomed[:, rows] = weights @ slab[:, columns]
        return zoomed


def _matrix(old: int, new: int, *, order: int) -> NDArray[np.float64]:
    """Return the matrix (new, old) of a zoom along one axis: what ``resize`` makes of unit vectors."""
    zoom: Any = resize  # scikit-image's functions carry no types
    zoomed: NDArray[np.float64] = zoom(
        np.eye(old), (new, old), order=order, mode="edge", clip=False, anti_aliasing=False
    )
    return zoomed


def _linear(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, for each new position, its two corners and its nearest neighbour (3, new), and weights (2, new).

    In the arithmetic of ``scipy.ndimage.zoom`` in grid mode, to the last bit: past the edge both corners are the
    edge, but the weights are still two, which shows in the rounding of sums.
    """
    places = (np.arange(new) + 0.5) * np.divide(old, new) - 0.5
    first = np.floor(places)
    weight = 1.0 - (places - first)
    corners = np.stack([first, first + 1, np.floor(places + 0.5)])
    return np.clip(corners, 0, old - 1).astype(np.int64), np.stack([weight, 1.0 - weight])


def _nearest(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the same table as ``_linear`` for an axis along which the nearest slice is taken whole."""
    places = float(old) / new * (np.arange(new) + 0.5) - 0.5
    nearest = map_coordinates(np.arange(old), places[None], order=0, mode="nearest").astype(np.int64)
    return np.stack([nearest] * 3), np.stack([np.ones(new), np.zeros(new)])


@compiled
def _vote(labels, corners_k, corners_j, corners_i, weights_k, weights_j, weights_i, resampled):  # type: ignore[no-untyped-def]
    bearing = np.empty(8, dtype=labels.dtype)
    weights = np.empty(8, dtype=np.float64)
    for k in range(resampled.shape[0]):
        for j in range(resampled.shape[1]):
            row_00 = labels[corners_k[0, k], corners_j[0, j]]
            row_01 = labels[corners_k[0, k], corners_j[1, j]]
            row_10 = labels[corners_k[1, k], corners_j[0, j]]
            row_11 = labels[corners_k[1, k], corners_j[1, j]]
            nearest = labels[corners_k[2, k], corners_j[2, j]]
            for i in range(resampled.shape[2]):
                a, b = corners_i[0, i], corners_i[1, i]
                bearing[0], bearing[1], bearing[2], bearing[3] = row_00[a], row_00[b], row_01[a], row_01[b]
                bearing[4], bearing[5], bearing[6], bearing[7] = row_10[a], row_10[b], row_11[a], row_11[b]
                is_uniform = True
                for corner in range(1, 8):
                    is_uniform &= bearing[corner] == bearing[0]
                if is_uniform:
                    resampled[k, j, i] = bearing[0]
                    continue
                for corner in range(8):
                    weight = weights_k[corner >> 2, k] * weights_j[(corner >> 1) & 1, j]
                    weights[corner] = weight * weights_i[corner & 1, i]
                resampled[k, j, i] = _winner(bearing, weights, nearest[corners_i[2, i]])


@compiled
def _winner(bearing, weights, nearest):  # type: ignore[no-untyped-def]
    winner, best = nearest, _score(bearing, weights, nearest)
    for label in bearing:
        if label == winner:
            continue
        score = _score(bearing, weights, label)
        if score > best or (score == best and winner != nearest and label < winner):
            winner, best = label, score
    return winner


@compiled
def _score(bearing, weights, label):  # type: ignore[no-untyped-def]
    score = 0.0
    for corner in range(8):
        if bearing[corner] == label:
            score += weights[corner]
    return score
