"""Vertebrae as things: the instances of a label map from superior to inferior, whatever they are called."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.labels import MAX_LABEL
from spine.metrics.foreground import require_label_type
from spine.postprocessing.centre_line import Placement, place
from spine.postprocessing.cropping import Box, bone_box, indices_of
from spine.postprocessing.fragments import find_pieces
from spine.postprocessing.grouping import LOOSE, group_pieces
from spine.postprocessing.off_spine import off_spine
from spine.postprocessing.outlines import Outlines
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

_DOUBT_PITCH: Final = 0.6  # two whole ones are never so near
_FRAGMENT_SHARE: Final = 0.15  # of the largest of its neighbours
_NEIGHBOURS: Final = 2
MOST_MM3: Final = 1e7
"""Bone of a mask beyond which it is no spine's: C1 to S1 of a large adult are some 1.2 litres, and a network
that has hardly learnt calls several times as much bone."""


@dataclass(frozen=True)
class Instance:
    """One vertebra that was found; ``label`` is what most of its voxels are called."""

    label: int
    voxels: int
    mm3: float
    centroid_mm: tuple[float, float, float]
    position_mm: float
    """Along the centre line, 0 at the uppermost vertebra."""
    at_border: bool
    is_fragment: bool
    """Far smaller than its neighbours: too little to say anything about their names."""
    is_cut: bool = False
    """By the upper or the lower face of the volume."""
    is_off_spine: bool = False
    """Farther beside the line through the others than a vertebra can be."""


@dataclass(frozen=True, eq=False)
class Instances:
    """The n vertebrae of a label map of ``shape``, in order from superior to inferior.

    ``voxels`` (m,) are the flat C-order positions, within ``box``, of all bone; ``names`` (m,) what the map calls
    them; ``owners`` (m,) their vertebra 0..n-1, or -1 for a stray crumb. ``scale`` is this patient's size over a
    typical adult's.
    """

    shape: tuple[int, int, int]
    box: Box
    voxels: NDArray[np.intp]
    names: NDArray[np.uint8]
    owners: NDArray[np.int32]
    items: tuple[Instance, ...]
    scale: float
    is_hopeless: bool = False
    """More pieces or more bone than a spine has: nothing was looked for, and no bone is listed."""

    def indices(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the indices (i, j, k) in the whole map, shape (m, 3), of some of the bone voxels by number."""
        return indices_of(self.voxels[numbers], box=self.box)


def find_instances(labels: Volume) -> Instances:
    """Find the vertebrae of a label map (i, j, k), uint8 ids 0-25, on any grid; deterministic.

    None are looked for in a map that is no spine's, which ``is_hopeless`` says: more pieces than one has, or bone of
    several trunks. That keeps a network that fails from taking time and memory without end.
    Raises InvalidValueError where the map is not uint8 within 0-25.
    """
    _require_label_map(labels.array)
    box = bone_box(labels.array)
    if box is None:
        return _nothing(labels.grid)
    volume_mm3 = np.count_nonzero(labels.array[box]) * labels.grid.voxel_mm3
    pieces = find_pieces(labels.array, grid=labels.grid, box=box) if volume_mm3 <= MOST_MM3 else None
    if pieces is None:
        return replace(_nothing(labels.grid), is_hopeless=True)
    owners, items, scale = _ordered(pieces.outlines, group_pieces(pieces))
    return Instances(
        shape=labels.grid.shape,
        box=box,
        voxels=pieces.voxels,
        names=pieces.outlines.labels[pieces.owners],
        owners=owners[pieces.owners],
        items=items,
        scale=scale,
    )


def _ordered(outlines: Outlines, groups: NDArray[np.intp]) -> tuple[NDArray[np.int32], tuple[Instance, ...], float]:
    """Return the vertebra of every piece, the vertebrae in order along their own centre line, and the scale."""
    owners = np.full(len(groups), LOOSE, dtype=np.int32)
    inside = groups != LOOSE
    if not inside.any():
        return owners, (), 1.0
    bodies = outlines.some(inside).joined(groups[inside])
    where = place(bodies)
    off = off_spine(bodies, where)
    if off.any():
        where = place(bodies, line_of=bodies.some(~off))
    fragment = _fragments(bodies, where)
    order = _from_the_top(bodies, where, fragment=fragment)
    depth = np.maximum.accumulate(where.positions_mm[order]) - where.positions_mm[order[0]]
    ranks = np.empty(len(bodies), dtype=np.int32)
    ranks[order] = np.arange(len(bodies))
    owners[inside] = ranks[groups[inside]]
    items = tuple(
        Instance(
            label=int(bodies.labels[number]),
            voxels=int(bodies.voxels[number]),
            mm3=float(bodies.mm3[number]),
            centroid_mm=_position(bodies.centroids_mm[number]),
            position_mm=float(place_mm),
            at_border=bool(bodies.at_border[number]),
            is_fragment=bool(fragment[number]),
            is_cut=bool(bodies.cut_above[number] or bodies.cut_below[number]),
            is_off_spine=bool(off[number]),
        )
        for number, place_mm in zip(order, depth, strict=True)
    )
    return owners, items, where.scale


def _from_the_top(bodies: Outlines, where: Placement, *, fragment: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Order by position, fragments last into the row of the others; where two lie at one height, by name."""
    positions, labels = where.positions_mm, bodies.labels

    def belongs_above(upper: int, lower: int) -> bool:
        """Whether of two in order of position the lower one has the smaller name, and is hardly lower."""
        apart = positions[lower] - positions[upper]
        near = abs(apart) < _DOUBT_PITCH * min(where.pitch_mm[upper], where.pitch_mm[lower])
        return bool(near and labels[lower] < labels[upper])

    order: list[int] = []
    for body in np.lexsort((labels, positions, fragment)).tolist():
        place = sum(1 for other in order if positions[other] <= positions[body])
        while place > 0 and belongs_above(order[place - 1], body):
            place -= 1
        while place < len(order) and belongs_above(body, order[place]):
            place += 1
        order.insert(place, body)
    return np.array(order, dtype=np.intp)


def _fragments(bodies: Outlines, where: Placement) -> NDArray[np.bool_]:
    order = np.argsort(where.positions_mm, kind="stable")
    volumes = bodies.mm3[order]
    fragment = np.zeros(len(order), dtype=np.bool_)
    for place_number, body in enumerate(order):
        around = volumes[max(place_number - _NEIGHBOURS, 0) : place_number + _NEIGHBOURS + 1]
        fragment[body] = bodies.mm3[body] < _FRAGMENT_SHARE * around.max()
    return fragment


def _nothing(grid: Grid) -> Instances:
    return Instances(
        shape=grid.shape,
        box=(slice(0, 0), slice(0, 0), slice(0, 0)),
        voxels=np.zeros(0, dtype=np.intp),
        names=np.zeros(0, dtype=np.uint8),
        owners=np.zeros(0, dtype=np.int32),
        items=(),
        scale=1.0,
    )


def _position(centroid: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in centroid)
    return x, y, z


def _require_label_map(array: NDArray[np.uint8]) -> None:
    require_label_type(array)
    highest = int(array.max(initial=0))
    if highest > MAX_LABEL:
        raise InvalidValueError("label", highest, expected=f"0-{MAX_LABEL}")
