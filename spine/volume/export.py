"""From logits on the network's grid to the label map at full size, without ever holding the logits at full size."""

# mypy: disallow-untyped-calls=False
# What numba compiles takes its types from its first call.

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spine.errors import SpinelineError
from spine.volume.export_kernels import UNSURE, fill, winners

Shape = tuple[int, int, int]

_SMALL_PLANE = 128
"""Where the two sizes of a plane add up to at most this, torch sums weighted corners instead of going axis by axis."""
_VOXELS_A_TASK, _PLANES_A_TASK = 1 << 18, 8


class UnfitLogitsError(SpinelineError):
    """An array is not what a network of few enough classes says of a volume, or no volume can be made of it."""

    def __init__(self, logits: NDArray[Any], shape: tuple[int, ...]) -> None:
        super().__init__(
            f"logits of shape {logits.shape} and type {logits.dtype}, to be resampled to {shape}: expected "
            f"(class, a, b, c) of float32 or float16, 1 to {UNSURE} classes, and three sizes above 0"
        )


def label_map(
    logits: NDArray[Any],
    shape: tuple[int, ...],
    *,
    separate_axis: int | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return the arg-max over the classes of logits (class, a, b, c) once they are resampled linearly to ``shape``.

    The logits are float32 or float16, of at most 255 classes; the ids come as uint8. To the voxel it is the arg-max of
    what nnU-Net's ``resample_torch_fornnunet`` (2.8.1) makes on the CPU, also where classes tie and where logits are
    not finite; only from a grid of a single voxel torch rounds otherwise. ``separate_axis`` is the axis of its
    ``separate_z``: the planes across it are resampled, and of them the nearest is taken.

    Interpolation weighs the 8 corners around a voxel, and rounding keeps the order of two values: so where all
    corners agree on the winner, it wins. Only between corners that disagree are the classes interpolated. Beside
    the logits, the two label maps are all that is held. ``threads`` defaults to the processors of this process.
    Raises UnfitLogitsError.
    """
    is_volume = logits.ndim == 4 and len(shape) == 3 and min(*logits.shape, *shape) > 0 and len(logits) <= UNSURE
    if not is_volume or logits.dtype not in (np.float32, np.float16):
        raise UnfitLogitsError(logits, shape)
    size: Shape = (int(shape[0]), int(shape[1]), int(shape[2]))
    workers = threads or len(os.sched_getaffinity(0))
    values = np.ascontiguousarray(logits)
    if separate_axis is not None:
        values = _with_small_planes_resampled(values, size, separate_axis)
    if values.dtype == np.float16:
        values = values.view(np.uint16)  # numba knows no halves
    winning = _winners(values, size, separate_axis, workers)
    return _filled(values, winning, size, separate_axis, workers)


def _winners(logits: NDArray[Any], shape: Shape, separate_axis: int | None, workers: int) -> NDArray[np.uint8]:
    """Return the winners (a, b, c), UNSURE where they must be interpolated to be known."""
    sizes = enumerate(zip(logits.shape[1:], shape, strict=True))
    is_interpolated = any(old != new and axis != separate_axis for axis, (old, new) in sizes)
    labels = np.empty(logits.shape[1:], dtype=np.uint8)
    flat_logits, flat_labels = logits.reshape(len(logits), -1), labels.reshape(-1)

    def work(first: int, last: int) -> None:
        winners(flat_logits, flat_labels, first, last, is_interpolated)

    _in_threads(work, labels.size, step=_VOXELS_A_TASK, workers=workers)
    return labels


def _filled(
    logits: NDArray[Any], labels: NDArray[np.uint8], shape: Shape, separate_axis: int | None, workers: int
) -> NDArray[np.uint8]:
    """Return the label map of ``shape``; an axis that is not interpolated goes first, so that its planes are whole."""
    first, is_flat, is_fused = separate_axis or 0, separate_axis is not None, _multiplies_and_adds_at_once()
    filled = np.empty(shape, dtype=np.uint8)
    turned_logits = np.moveaxis(logits, first + 1, 1)
    turned_labels = np.ascontiguousarray(np.moveaxis(labels, first, 0))
    turned = np.moveaxis(filled, first, 0)
    sizes = zip(turned_labels.shape, turned.shape, strict=True)
    tables = [(_nearest if is_flat and axis == 0 else _linear)(*pair) for axis, pair in enumerate(sizes)]
    corners, weights = zip(*tables, strict=True)

    def work(start: int, stop: int) -> None:
        fill(turned_logits, turned_labels, corners, weights, is_flat, is_fused, turned, start, stop)

    _in_threads(work, len(turned), step=_PLANES_A_TASK, workers=workers)
    return filled


def _in_threads(work: Callable[[int, int], None], size: int, *, step: int, workers: int) -> None:
    starts = range(0, size, step)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, starts, [min(start + step, size) for start in starts]))


def _linear(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the corners (2, new) of each new position along an axis and their weights (2, new), as torch has them."""
    if old == new:
        return np.stack([np.arange(new)] * 2), np.stack([np.ones(new, np.float32), np.zeros(new, np.float32)])
    half, scale = np.float32(0.5), np.float32(old) / np.float32(new)
    positions = np.arange(new).astype(np.float32) + half
    if _multiplies_and_adds_at_once():  # float64 holds the product of two float32 whole
        places = (positions.astype(np.float64) * np.float64(scale) - 0.5).astype(np.float32)
    else:
        places = positions * scale - half
    places = places.clip(min=0)
    low = np.minimum(places.astype(np.int64), old - 1)
    high_weight = (places - low.astype(np.float32)).clip(0, 1)
    return np.stack([low, np.minimum(low + 1, old - 1)]), np.stack([1 - high_weight, high_weight])


def _nearest(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the same for an axis along which torch takes the nearest plane whole."""
    planes = torch.arange(old, dtype=torch.float32)[None, None]
    nearest = functional.interpolate(planes, new, mode="nearest-exact")[0, 0].numpy().astype(np.int64)
    return np.stack([nearest] * 2), np.stack([np.ones(new, np.float32), np.zeros(new, np.float32)])


@cache
def _multiplies_and_adds_at_once() -> bool:
    """Say whether torch interpolates with fused multiply-add here: it does where the processor has it.

    A quarter of -3 takes three quarters of 1 + 2^-23 back but for 0.75 × 2^-23, which only a fused product keeps.
    """
    pair = torch.tensor([[[1 + 2**-23, -3]]], dtype=torch.float32)
    return float(functional.interpolate(pair, 4, mode="linear")[0, 0, 1]) != 2**-23


def _with_small_planes_resampled(logits: NDArray[Any], shape: Shape, axis: int) -> NDArray[Any]:
    """Return the logits with the planes across ``axis`` resampled by torch itself, if they are to be small."""
    planes = np.moveaxis(logits, axis + 1, 1)
    rows, columns = (size for other, size in enumerate(shape) if other != axis)
    if planes.shape[2:] == (rows, columns) or rows + columns > _SMALL_PLANE:
        return logits
    stack = torch.from_numpy(np.ascontiguousarray(planes)).flatten(0, 1)[None].float()
    resampled = functional.interpolate(stack, (rows, columns), mode="bilinear")[0].numpy()
    return np.ascontiguousarray(np.moveaxis(resampled.reshape(*planes.shape[:2], rows, columns), 1, axis + 1))
