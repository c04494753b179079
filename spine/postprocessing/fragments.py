"""The connected pieces of a label map: where each lies, how large it is, and how much of each other it touches."""

from dataclasses import dataclass, replace
from typing import Final

import cc3d
import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.cropping import Box, indices_of
from spine.postprocessing.fused import lower_part, suspects
from spine.postprocessing.measuring import measured
from spine.postprocessing.outlines import FRAGMENT_MM3, Outlines, seeds_of
from spine.volume.grid import Grid

_BY_FACES, _BY_CORNERS = 6, 26
_COARSE_MM = 4.0

MOST_VOXELS: Final = 25_000_000
"""Bone voxels of a whole spine at 0.4 mm are fewer; a map with more is no spine's."""
MOST_CHANGES: Final = 5_000_000
"""Changes of the label along the rows of the grid: a whole spine at 0.4 mm has a tenth of them, noise has more."""
MOST_PIECES: Final = 20_000
"""With all its crumbs a spine comes in hundreds of pieces; it is noise that comes in more."""
MOST_SEEDS: Final = 200
"""Pieces large enough to be a vertebra: a spine has 26, each perhaps in a few parts."""
MOST_CUT_VOXELS: Final = 3_000_000
"""Of all pieces that are cut in two, together: what is left then stays in one."""


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

    def gaps_mm(self, some: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the distances (k, l) between the boxes of some pieces (k,) and others (l,); 0 where they overlap."""
        low, high = self.low_mm, self.high_mm
        apart = np.maximum(low[some][:, None] - high[others], low[others] - high[some][:, None])
        return np.asarray(np.linalg.norm(np.maximum(apart, 0.0), axis=2), dtype=np.float64)


def find_pieces(array: NDArray[np.uint8], *, grid: Grid, box: Box) -> Pieces | None:
    """Take the bone within ``box`` of a label map (i, j, k) apart, and what is plainly two vertebrae once more.

    Faces alone connect, since facet joints of neighbours so often touch by an edge or a corner; on a coarse grid
    corners do as well, since there a process may hang by one. None where there is more of anything than a spine
    has, as in the noise of an untrained network: the work is bounded whatever the map.
    """
    bone = np.ascontiguousarray(array[box])
    changes = np.count_nonzero(bone[..., 1:] != bone[..., :-1])
    if changes > MOST_CHANGES or np.count_nonzero(bone) > MOST_VOXELS:
        return None
    connectivity = _BY_CORNERS if sorted(grid.spacing_mm)[1] > _COARSE_MM else _BY_FACES
    components, count = cc3d.connected_components(bone, connectivity=connectivity, out_dtype=np.uint32, return_N=True)
    if count > MOST_PIECES:
        return None
    voxels = np.flatnonzero(bone)
    owners = components.ravel()[voxels].astype(np.int32) - 1
    pieces = _described(owners, count=count, voxels=voxels, bone=bone, grid=grid, box=box)
    if len(seeds_of(pieces.outlines)) > MOST_SEEDS:
        return None
    cut = _cut_fused(pieces, grid=grid)
    if cut is not None:
        components.ravel()[voxels] = cut + 1
        pieces = _described(cut, count=int(cut.max()) + 1, voxels=voxels, bone=bone, grid=grid, box=box)
    return replace(pieces, contacts_mm2=_contacts_mm2(components, grid=grid))


def _described(
    owners: NDArray[np.int32],
    *,
    count: int,
    voxels: NDArray[np.intp],
    bone: NDArray[np.uint8],
    grid: Grid,
    box: Box,
) -> Pieces:
    labels = np.zeros(count, dtype=np.uint8)
    labels[owners] = bone.ravel()[voxels]
    found = measured(voxels, owners, count=count, grid=grid, box=box)
    low, high = found.low, found.high
    above, below = _cut_by_faces(low, high, grid=grid)
    return Pieces(
        box=box,
        voxels=voxels,
        owners=owners,
        outlines=Outlines(
            labels=labels,
            voxels=found.voxels,
            mm3=np.asarray(found.voxels * grid.voxel_mm3, dtype=np.float64),
            centroids_mm=grid.millimetres(found.centres),
            top_mm=found.top_mm,
            bottom_mm=found.bottom_mm,
            at_border=((low == 0) | (high == np.array(grid.shape) - 1)).any(axis=1),
            cut_above=above,
            cut_below=below,
        ),
        low_mm=low * np.asarray(grid.spacing_mm),
        high_mm=(high + 1) * np.asarray(grid.spacing_mm),
        edge_mm=max(grid.spacing_mm),
        contacts_mm2={},
    )


def _cut_fused(pieces: Pieces, *, grid: Grid) -> NDArray[np.int32] | None:
    """Return the piece of each bone voxel with those over two vertebrae cut, however often; None where none is."""
    large = np.flatnonzero(pieces.outlines.mm3 >= FRAGMENT_MM3)
    if not len(large):
        return None
    fused, where = suspects(pieces.outlines.some(large))
    owners, count = pieces.owners.copy(), len(pieces.outlines)
    before, left = count, MOST_CUT_VOXELS
    for suspect in fused:
        waiting = [large[suspect]]
        while waiting:
            piece = waiting.pop()
            numbers = np.flatnonzero(owners == piece)
            if len(numbers) > left:
                continue
            lower = lower_part(
                indices_of(pieces.voxels[numbers], box=pieces.box),
                grid=grid,
                direction=where.directions[suspect],
                pitch_mm=float(where.pitch_mm[suspect]),
            )
            if lower is not None and lower.any() and not lower.all():
                owners[numbers[lower]] = count
                left -= len(numbers)
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


def _cut_by_faces(
    low: NDArray[np.int64], high: NDArray[np.int64], *, grid: Grid
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark what reaches the first or last plane across the axis that runs most nearly head to foot."""
    rising = grid.matrix[2, :3] / np.asarray(grid.spacing_mm)
    upright = int(np.abs(rising).argmax())
    first, last = low[:, upright] == 0, high[:, upright] == grid.shape[upright] - 1
    return (last, first) if rising[upright] > 0 else (first, last)
