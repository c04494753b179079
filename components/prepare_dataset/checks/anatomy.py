"""What is measured on a label map, once, for all checks of levels: voxels, centroids, pieces, contacts, borders."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from components.prepare_dataset.checks.runs import Runs, runs_of
from spine.labels import MAX_LABEL
from spine.volume.nifti import Volume

_Box = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Level:
    """One vertebra of a label map: label id, voxels, centroid (3,) in RAS+ mm, and how much of it is in one piece."""

    label: int
    voxels: int
    centroid_mm: NDArray[np.float64]
    height_mm: float
    """Extent along the axis from inferior to superior."""
    at_border: bool
    in_one_piece: float
    """Share of its voxels in its main piece, and in pieces that the border may have parted from it."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A canonical label map measured: its levels by label, who touches whom, and where its bone is."""

    levels: dict[int, Level]
    contacts_mm2: dict[tuple[int, int], float]
    """Shared surface of two labels that are not neighbours, the lower id first."""
    runs: Runs
    voxel_mm3: float


def measure(labels: Volume) -> Anatomy:
    """Measure a label map (uint8 ids 0-25, RAS order) with at least one label.

    Everything but pieces and contacts is computed on runs, and contacts only where the boxes of two labels meet.
    """
    runs = runs_of(labels.array)
    weights = runs.lengths.astype(np.float64)
    voxels = np.bincount(runs.labels, weights=weights, minlength=MAX_LABEL + 1)
    middle = runs.first.astype(np.float64)
    middle[runs.axis] += (weights - 1) / 2
    sums = np.stack([np.bincount(runs.labels, weights=axis * weights, minlength=MAX_LABEL + 1) for axis in middle], 1)
    at_border = _at_border(runs, labels.array.shape)
    cut = set(np.unique(runs.labels[at_border]).tolist())
    boxes = _boxes(runs)
    in_one_piece = _in_one_piece(runs, _pieces(runs, boxes, labels.array), at_border)
    levels = {
        label: Level(
            label=label,
            voxels=int(voxels[label]),
            centroid_mm=labels.grid.millimetres(sums[label] / voxels[label]),
            height_mm=float(boxes[label][1][2] - boxes[label][0][2] + 1) * labels.grid.spacing_mm[2],
            at_border=label in cut,
            in_one_piece=in_one_piece[label],
        )
        for label in np.flatnonzero(voxels).tolist()
    }
    contacts = _contacts(labels, boxes)
    return Anatomy(levels=levels, contacts_mm2=contacts, runs=runs, voxel_mm3=labels.grid.voxel_mm3)


def _boxes(runs: Runs) -> dict[int, _Box]:
    """Return by label its lowest and its highest voxel, each of shape (3,)."""
    order = np.argsort(runs.labels, kind="stable")
    labels, begins = np.unique(runs.labels[order], return_index=True)
    low = np.minimum.reduceat(runs.first[:, order], begins, axis=1)
    high = np.maximum.reduceat(runs.last[:, order], begins, axis=1)
    return {label: (low[:, at], high[:, at]) for at, label in enumerate(labels.tolist())}


def _at_border(runs: Runs, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    faces = np.asarray(shape)[:, None] - 1
    return np.asarray((runs.first == 0).any(axis=0) | (runs.last == faces).any(axis=0))


def _pieces(runs: Runs, boxes: dict[int, _Box], array: NDArray[np.uint8]) -> NDArray[Any]:
    """Return for every run the number of the connected piece (26 neighbours, one label) that it belongs to."""
    low = np.min([box[0] for box in boxes.values()], axis=0)
    high = np.max([box[1] for box in boxes.values()], axis=0)
    crop = array[_slices(low, high)]
    ordered = np.ascontiguousarray(crop) if runs.axis else np.asfortranarray(crop)
    pieces = cc3d.connected_components(ordered, connectivity=26)
    numbers: NDArray[Any] = pieces[tuple(runs.first - low[:, None])]
    return numbers


def _in_one_piece(runs: Runs, pieces: NDArray[Any], at_border: NDArray[np.bool_]) -> dict[int, float]:
    """Return by label the share of its voxels in its largest piece or in pieces that reach the border.

    A border that cuts through a vertebra leaves its processes apart, each ending at the border.
    """
    sizes = np.bincount(pieces, weights=runs.lengths)
    owner = np.zeros(sizes.size, dtype=np.uint8)
    owner[pieces] = runs.labels
    reaches = np.zeros(sizes.size, dtype=bool)
    reaches[pieces[at_border]] = True
    shares = {}
    for label in np.unique(owner[owner > 0]).tolist():
        own = np.flatnonzero(owner == label)
        kept = reaches[own]
        kept[sizes[own].argmax()] = True
        shares[label] = float(sizes[own][kept].sum() / sizes[own].sum())
    return shares


def _contacts(labels: Volume, boxes: dict[int, _Box]) -> dict[tuple[int, int], float]:
    """Return the surface in mm² that labels share which are not neighbours, looking where their boxes meet."""
    contacts = {}
    for upper, lower in combinations(sorted(boxes), 2):
        low = np.maximum(boxes[upper][0], boxes[lower][0]) - 1
        high = np.minimum(boxes[upper][1], boxes[lower][1]) + 1
        if lower - upper == 1 or (low > high).any():
            continue
        crop = np.asfortranarray(labels.array[_slices(np.maximum(low, 0), high)])
        touching = cc3d.contacts(crop, connectivity=6, surface_area=True, anisotropy=labels.grid.spacing_mm)
        area = float(touching.get((upper, lower), 0.0))
        if area:
            contacts[upper, lower] = area
    return contacts


def _slices(low: NDArray[np.intp], high: NDArray[np.intp]) -> tuple[slice, ...]:
    return tuple(slice(int(start), int(stop) + 1) for start, stop in zip(low, high, strict=True))
