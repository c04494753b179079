"""The connected pieces of a label map: where each lies, how large it is, and how much of each other it touches."""

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.cropping import Box, indices_of
from spine.postprocessing.fused import lower_part, suspects
from spine.postprocessing.outlines import FRAGMENT_MM3, Outlines
from spine.volume.grid import Grid

_BY_FACES, _BY_CORNERS = 6, 26
_COARSE_MM = 4.0


@dataclass(frozen=True, eq=False)
class Pieces:
    """n pieces, each connected by voxel faces and under one label; m is the number of bone voxels.

    ``voxels`` (m,) are flat C-order positions within ``box`` and ``owners`` (m,) the piece of each. ``low_mm`` and
    ``high_mm`` (n, 3) are the corners of their boxes along the grid's own axes; ``edge_mm`` is a voxel's longest
    edge. Contacts are areas in mm².
    """

    box: Box
    voxels: NDArray[np.intp]
    owners: NDArray[np.int32]
    outlines: Outlines
    low_mm: NDArray[np.float64]
    high_mm: NDArray[np.float64]
    edge_mm: float
    contacts_mm2: dict[tuple[int, int], float]

    def gap_mm(self, first: int, second: int) -> float:
        """Return the distance between the boxes of two pieces; 0 where they overlap."""
        apart = np.maximum(self.low_mm[first] - self.high_mm[second], self.low_mm[second] - self.high_mm[first])
        return float(np.linalg.norm(np.maximum(apart, 0.0)))


def find_pieces(array: NDArray[np.uint8], *, grid: Grid, box: Box) -> Pieces:
    """Take the bone within ``box`` of a label map (i, j, k) apart, and what is plainly two vertebrae once more.

    Faces alone connect, since facet joints of neighbours so often touch by an edge or a corner; on a coarse grid
    corners do as well, since there a process may hang by one.
    """
    bone = np.ascontiguousarray(array[box])
    connectivity = _BY_CORNERS if sorted(grid.spacing_mm)[1] > _COARSE_MM else _BY_FACES
    components = cc3d.connected_components(bone, connectivity=connectivity, out_dtype=np.uint32)
    pieces = _described(components, bone=bone, grid=grid, box=box)
    cut = _cut_fused(pieces, grid=grid)
    if cut is None:
        return pieces
    components.ravel()[pieces.voxels] = cut + 1
    return _described(components, bone=bone, grid=grid, box=box)


def _described(components: NDArray[np.uint32], *, bone: NDArray[np.uint8], grid: Grid, box: Box) -> Pieces:
    statistics = cc3d.statistics(components, no_slice_conversion=True)
    count = len(statistics["voxel_counts"]) - 1
    voxels = np.flatnonzero(components)
    owners = components.ravel()[voxels].astype(np.int32) - 1
    labels = np.zeros(count, dtype=np.uint8)
    labels[owners] = bone.ravel()[voxels]
    start = np.array([edge.start for edge in box])
    # Inclusive ranges: i from, i to, j from, j to, k from, k to.
    ranges = statistics["bounding_boxes"][1:].astype(np.int64).reshape(count, 3, 2) + start[None, :, None]
    low, high = ranges[..., 0], ranges[..., 1]
    sizes = statistics["voxel_counts"][1:].astype(np.int64)
    top, bottom = _extents_mm(voxels, owners, count=count, grid=grid, box=box)
    above, below = _cut_by_faces(low, high, grid=grid)
    return Pieces(
        box=box,
        voxels=voxels,
        owners=owners,
        outlines=Outlines(
            labels=labels,
            voxels=sizes,
            mm3=sizes * grid.voxel_mm3,
            centroids_mm=grid.millimetres(statistics["centroids"][1:] + start),
            top_mm=top,
            bottom_mm=bottom,
            at_border=((low == 0) | (high == np.array(grid.shape) - 1)).any(axis=1),
            cut_above=above,
            cut_below=below,
        ),
        low_mm=low * np.asarray(grid.spacing_mm),
        high_mm=(high + 1) * np.asarray(grid.spacing_mm),
        edge_mm=max(grid.spacing_mm),
        contacts_mm2=_contacts_mm2(components, grid=grid),
    )


def _cut_fused(pieces: Pieces, *, grid: Grid) -> NDArray[np.int32] | None:
    """Return the piece of each bone voxel with those over two vertebrae cut, however often; None where none is."""
    large = np.flatnonzero(pieces.outlines.mm3 >= FRAGMENT_MM3)
    if not len(large):
        return None
    fused, where = suspects(pieces.outlines.some(large))
    owners, count = pieces.owners.copy(), len(pieces.outlines)
    before = count
    for suspect in fused:
        waiting = [large[suspect]]
        while waiting:
            piece = waiting.pop()
            numbers = np.flatnonzero(owners == piece)
            lower = lower_part(
                indices_of(pieces.voxels[numbers], box=pieces.box),
                grid=grid,
                direction=where.directions[suspect],
                pitch_mm=float(where.pitch_mm[suspect]),
            )
            if lower is not None and lower.any() and not lower.all():
                owners[numbers[lower]] = count
                waiting += [piece, count]
                count += 1
    return owners if count > before else None


def _contacts_mm2(components: NDArray[np.uint32], *, grid: Grid) -> dict[tuple[int, int], float]:
    contacts = cc3d.contacts(components, connectivity=_BY_FACES, surface_area=True, anisotropy=grid.spacing_mm)
    return {
        (int(min(pair)) - 1, int(max(pair)) - 1): float(area)
        for pair, area in sorted(contacts.items())
        if min(pair) > 0 and area > 0
    }


def _extents_mm(
    voxels: NDArray[np.intp], owners: NDArray[np.int32], *, count: int, grid: Grid, box: Box
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the highest and the lowest voxel centre of each piece in RAS+ mm, on an oblique grid as well."""
    inside = np.unravel_index(voxels, tuple(edge.stop - edge.start for edge in box))
    heights = np.full(len(voxels), grid.matrix[2, 3])
    for axis, (index, edge) in enumerate(zip(inside, box, strict=True)):
        heights += (grid.matrix[2, axis] * np.arange(edge.start, edge.stop))[index]
    top, bottom = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(top, owners, heights)
    np.minimum.at(bottom, owners, heights)
    return top, bottom


def _cut_by_faces(
    low: NDArray[np.int64], high: NDArray[np.int64], *, grid: Grid
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark what reaches the first or last plane across the axis that runs most nearly head to foot."""
    rising = grid.matrix[2, :3] / np.asarray(grid.spacing_mm)
    upright = int(np.abs(rising).argmax())
    first, last = low[:, upright] == 0, high[:, upright] == grid.shape[upright] - 1
    return (last, first) if rising[upright] > 0 else (first, last)
