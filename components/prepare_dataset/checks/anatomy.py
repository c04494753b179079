"""What is measured on a label map, once, for all checks of levels: voxels, centroids, pieces, contacts, borders."""

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.metrics.foreground import bone_voxels, flat, is_column_major
from spine.volume.nifti import Volume

Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Level:
    """One vertebra of a label map: label id, voxels, centroid (3,) in RAS+ mm, and how much of it is in one piece."""

    label: int
    voxels: int
    centroid_mm: NDArray[np.float64]
    at_border: bool
    in_one_piece: float
    """Share of its voxels in its main piece, and in pieces that the border may have parted from it."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A canonical label map measured: its levels by label, who touches whom, and where its bone is."""

    levels: dict[int, Level]
    contacts_mm2: dict[tuple[int, int], float]
    """Shared surface of two labels, the lower id first."""
    indices: tuple[Index, Index, Index]
    """Voxel indices i, j, k of all bone, each of shape (n,)."""
    voxel_mm3: float


def measure(labels: Volume) -> Anatomy:
    """Measure a label map (uint8 ids 0-25, RAS order); only the box around the bone is looked at twice."""
    indices, ids = _bone(labels.array)
    low = [int(axis.min()) for axis in indices]
    box = tuple(slice(start, int(axis.max()) + 1) for start, axis in zip(low, indices, strict=True))
    crop = np.asfortranarray(labels.array[box])
    inner = tuple(axis - start for axis, start in zip(indices, low, strict=True))
    pieces = cc3d.connected_components(crop, connectivity=26)[inner]
    at_border = _at_border(indices, labels.array.shape)
    in_one_piece = _in_one_piece(ids, pieces, at_border)
    voxels = np.bincount(ids, minlength=MAX_LABEL + 1)
    sums = np.stack([np.bincount(ids, weights=axis, minlength=MAX_LABEL + 1) for axis in indices], axis=1)
    cut = set(np.unique(ids[at_border]).tolist())
    levels = {
        label: Level(
            label=label,
            voxels=int(voxels[label]),
            centroid_mm=labels.grid.millimetres(sums[label] / voxels[label]),
            at_border=label in cut,
            in_one_piece=in_one_piece[label],
        )
        for label in np.flatnonzero(voxels).tolist()
    }
    touching = cc3d.contacts(crop, connectivity=6, surface_area=True, anisotropy=labels.grid.spacing_mm)
    contacts = {(min(pair), max(pair)): float(area) for pair, area in touching.items() if min(pair) > 0}
    return Anatomy(levels=levels, contacts_mm2=contacts, indices=indices, voxel_mm3=labels.grid.voxel_mm3)


def _bone(array: NDArray[np.uint8]) -> tuple[tuple[Index, Index, Index], NDArray[np.uint8]]:
    column_major = is_column_major(array)
    blocks = list(bone_voxels(flat(array, column_major=column_major)))
    positions = np.concatenate([block for block, _ in blocks])
    ids = np.concatenate([block for _, block in blocks])
    i, j, k = np.unravel_index(positions, array.shape, order="F" if column_major else "C")
    return (i, j, k), ids


def _at_border(indices: tuple[Index, Index, Index], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    on_face: NDArray[np.bool_] = np.zeros(indices[0].size, dtype=bool)
    for axis, size in zip(indices, shape, strict=True):
        on_face |= (axis == 0) | (axis == size - 1)
    return on_face


def _in_one_piece(ids: NDArray[np.uint8], pieces: NDArray[Any], at_border: NDArray[np.bool_]) -> dict[int, float]:
    """Return by label the share of its voxels in its largest piece or in pieces that reach the border.

    A border that cuts through a vertebra leaves its processes apart, each ending at the border.
    """
    sizes = np.bincount(pieces)
    owner = np.zeros(sizes.size, dtype=np.uint8)
    owner[pieces] = ids
    reaches = np.zeros(sizes.size, dtype=bool)
    reaches[pieces[at_border]] = True
    shares = {}
    for label in np.unique(ids).tolist():
        own = np.flatnonzero(owner == label)
        kept = reaches[own]
        kept[sizes[own].argmax()] = True
        shares[label] = float(sizes[own][kept].sum() / sizes[own].sum())
    return shares
