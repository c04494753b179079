"""One piece over two vertebrae, under one name: found by the disc that it spans, cut where its halves meet."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from spine.postprocessing.centre_line import Placement, place
from spine.postprocessing.outlines import Outlines
from spine.volume.grid import Grid

Indices = NDArray[np.intp]

_LARGE_SHARE: Final = 1.2  # of the volume of its neighbours: worth a look
_NEIGHBOURS: Final = 2
_TALL_PITCH: Final = 2.4
_ZONE_PITCH: Final = 0.55  # before and beside the centroid: there is body and nothing else
_VALLEY: Final = 0.5  # of the smaller body's cross-section: a disc, which no label covers, or a thin bridge over it
_APART_PITCH: Final = (0.5, 1.7)
_BODY_SHARE: Final = 0.2
_BIN_MM: Final = 2.0


def suspects(outlines: Outlines) -> tuple[Indices, Placement]:
    """Return the pieces that are large or tall for their place, and the placement of all of them."""
    where = place(outlines)
    order = np.argsort(where.positions_mm, kind="stable")
    volumes = outlines.mm3[order]
    tall = outlines.top_mm - outlines.bottom_mm > _TALL_PITCH * where.pitch_mm
    found = []
    for place_number, piece in enumerate(order):
        before = volumes[max(place_number - _NEIGHBOURS, 0) : place_number]
        around = np.concatenate([before, volumes[place_number + 1 : place_number + 1 + _NEIGHBOURS]])
        large = len(around) and outlines.mm3[piece] > _LARGE_SHARE * np.median(around)
        if large or tall[piece]:
            found.append(piece)
    return np.array(sorted(found), dtype=np.intp), where


def lower_part(
    indices: Indices, *, grid: Grid, direction: NDArray[np.float64], pitch_mm: float
) -> NDArray[np.bool_] | None:
    """Mark those voxels of a piece (n, 3) that belong to a second, lower vertebra; None where there is one only.

    ``direction`` (3,) runs down the spine. Two bodies with a disc between them leave a deep minimum in the
    cross-section before the centre line. Each voxel goes to the body that it is nearer to within the bone, so that
    a spinous process stays with the body that it hangs from.
    """
    points = grid.millimetres(indices.astype(np.float64))
    points -= points.mean(axis=0)
    forward = np.array([0.0, 1.0, 0.0]) - direction[1] * direction
    forward /= max(float(np.linalg.norm(forward)), 1e-6)
    along, ahead, beside = points @ direction, points @ forward, points @ np.cross(direction, forward)
    zone = (ahead > 0) & (ahead < _ZONE_PITCH * pitch_mm) & (np.abs(beside) < _ZONE_PITCH * pitch_mm)
    disc_mm = _disc_mm(along[zone], bin_mm=max(_BIN_MM, float(np.abs(grid.matrix[2, :3]).max())), pitch_mm=pitch_mm)
    if disc_mm is None:
        return None
    nearest = _nearest_seed(indices, seeds=np.flatnonzero(zone), spacing_mm=grid.spacing_mm)
    # What no path leads to from a body (a piece connects by faces, so nothing) stays with the upper one.
    return np.asarray((nearest >= 0) & (along[nearest] > disc_mm), dtype=np.bool_)


def _disc_mm(along: NDArray[np.float64], *, bin_mm: float, pitch_mm: float) -> float | None:
    """Return the place of the deepest minimum between two bodies, or None."""
    if not len(along):
        return None
    first = along.min()
    bins = ((along - first) / bin_mm).astype(np.intp)
    areas = np.bincount(bins).astype(np.float64)
    best, place_mm = _VALLEY, None
    for valley in range(1, len(areas) - 1):
        peaks = min(areas[:valley].max(), areas[valley + 1 :].max())
        upper, lower = bins < valley, bins > valley
        share = min(np.count_nonzero(upper), np.count_nonzero(lower)) / len(bins)
        if areas[valley] >= best * peaks or share < _BODY_SHARE:
            continue
        apart = along[lower].mean() - along[upper].mean()
        if _APART_PITCH[0] * pitch_mm <= apart <= _APART_PITCH[1] * pitch_mm:
            best, place_mm = areas[valley] / peaks, float(first + (valley + 0.5) * bin_mm)
    return place_mm


def _nearest_seed(indices: Indices, *, seeds: Indices, spacing_mm: tuple[float, float, float]) -> Indices:
    """Return for each voxel the seed voxel with the shortest way through face neighbours."""
    shape = indices.max(axis=0) - indices.min(axis=0) + 2
    numbers = np.full(shape, -1, dtype=np.intp)
    local = indices - indices.min(axis=0)
    numbers[tuple(local.T)] = np.arange(len(indices))
    rows, columns, lengths = [], [], []
    for axis, edge in enumerate(spacing_mm):
        step = local.copy()
        step[:, axis] += 1
        other = numbers[tuple(step.T)]
        touching = np.flatnonzero(other >= 0)
        rows.append(touching)
        columns.append(other[touching])
        lengths.append(np.full(len(touching), edge))
    edges = (np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns)))
    graph = coo_array(edges, shape=(len(indices), len(indices))).tocsr()
    _, _, sources = dijkstra(graph, directed=False, indices=seeds, min_only=True, return_predecessors=True)
    return np.asarray(np.where(sources < 0, -1, sources), dtype=np.intp)
