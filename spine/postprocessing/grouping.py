"""Which pieces are one vertebra: crumbs go along, a split name is joined, one name over two vertebrae stays two."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.centre_line import Placement, place
from spine.postprocessing.fragments import Pieces
from spine.postprocessing.off_spine import off_spine
from spine.postprocessing.outlines import Outlines, seeds_of

LOOSE: Final = -1
"""The group of a crumb that touches nothing and has no vertebra of its name."""
_SAME_NAME_PITCH: Final = 0.5
_PROCESS_PITCH: Final = 1.0
_BESIDE_PITCH: Final = 0.8  # a piece farther off the line is a process, not a vertebra
_SECOND_SHARE: Final = 0.3  # of its name's largest piece: half a vertebra has more, a process less
_SPLIT_PITCH: Final = 0.6
_SPLIT_CONTACT: Final = 0.12
"""Contact over volume^(2/3): a cut through the pedicles has 0.2, one through the body 0.7, a facet joint under 0.1."""
_NEAR_PITCH: Final = 1.0
_NEAR_VOXELS: Final = 3.0


def group_pieces(pieces: Pieces) -> NDArray[np.intp]:
    """Return the group of every piece, shape (n,): 0..k-1, one a vertebra, in no order; LOOSE for stray crumbs."""
    groups = np.full(len(pieces.outlines), LOOSE, dtype=np.intp)
    seeds = seeds_of(pieces.outlines)
    if len(seeds):
        groups[seeds] = _same_name(pieces.outlines.some(seeds))
        _join_split_names(pieces, seeds, groups=groups)
        _join_crumbs(pieces, seeds, groups=groups)
    return _renumbered(groups)


def _same_name(seeds: Outlines) -> NDArray[np.intp]:
    """Group seeds of one name, largest first, unless they lie where two vertebrae would."""
    _, main, name = np.unique(seeds.labels, return_index=True, return_inverse=True)
    mains = seeds.some(main)
    off = off_spine(mains, place(mains))
    where = place(seeds, line_of=mains.some(~off))
    is_process = where.beside_mm > _BESIDE_PITCH * where.pitch_mm
    is_process |= seeds.mm3 < _SECOND_SHARE * seeds.mm3[main][name]
    groups = np.arange(len(seeds))
    for seed in range(len(seeds)):
        for other in np.flatnonzero(seeds.labels[:seed] == seeds.labels[seed]):
            below = (where.seen_mm[seed] - where.seen_mm[other]) / where.pitch_mm[seed]
            # A process may hang far down, but never stands above its vertebra.
            if abs(below) < _SAME_NAME_PITCH or (is_process[seed] and below > -_PROCESS_PITCH):
                groups[seed] = groups[other]
                break
    return groups


def _join_split_names(pieces: Pieces, seeds: NDArray[np.intp], *, groups: NDArray[np.intp]) -> None:
    """Join the two groups with the largest contact for their volume, again and again while any are near enough.

    What the upper or lower border cuts is left alone: it lies nearer to its neighbour than a whole one would.
    """
    touching = {pair: area for pair, area in pieces.contacts_mm2.items() if LOOSE not in groups[list(pair)]}
    while True:
        groups[:] = _renumbered(groups)
        bodies = pieces.outlines.some(seeds).joined(groups[seeds])
        where = place(bodies)
        best, pair = _SPLIT_CONTACT, None
        for (first, second), area in _contacts(touching, groups).items():
            contact = area / (bodies.mm3[first] + bodies.mm3[second]) ** (2 / 3)
            if contact >= best and _too_near(first, second, bodies=bodies, where=where):
                best, pair = contact, (first, second)
        if pair is None:
            return
        groups[groups == pair[1]] = pair[0]


def _too_near(first: int, second: int, *, bodies: Outlines, where: Placement) -> bool:
    apart = abs(where.positions_mm[first] - where.positions_mm[second])
    cut = (bodies.cut_above | bodies.cut_below)[[first, second]].any()
    return bool(not cut and apart < _SPLIT_PITCH * min(where.pitch_mm[first], where.pitch_mm[second]))


def _contacts(touching: dict[tuple[int, int], float], groups: NDArray[np.intp]) -> dict[tuple[int, int], float]:
    areas: dict[tuple[int, int], float] = {}
    for (first, second), area in touching.items():
        low, high = sorted((int(groups[first]), int(groups[second])))
        if low != high:
            areas[low, high] = areas.get((low, high), 0.0) + area
    return areas


def _join_crumbs(pieces: Pieces, seeds: NDArray[np.intp], *, groups: NDArray[np.intp]) -> None:
    """Give each small piece to the vertebra of its name where that is near, else to the one it touches most.

    At the upper and lower border one that is far from its name's vertebra keeps its name: it may be what is seen of
    another. So does one that is alone under the next level's name.
    """
    labels = pieces.outlines.labels
    bodies = pieces.outlines.some(seeds).joined(groups[seeds])
    where = place(bodies)
    cut = pieces.outlines.cut_above | pieces.outlines.cut_below
    touched = _touched(pieces, groups)
    crumbs = np.flatnonzero(groups == LOOSE)
    nearest, gaps_mm = _nearest_of_name(pieces, crumbs, seeds=seeds)
    for crumb, own, gap_mm in zip(crumbs.tolist(), nearest.tolist(), gaps_mm, strict=True):
        if own >= 0:
            near_mm = max(_NEAR_PITCH * where.pitch_mm[groups[own]], _NEAR_VOXELS * pieces.edge_mm)
            if gap_mm <= near_mm or cut[own] or (crumb not in touched and not cut[crumb]):
                groups[crumb] = groups[own]
                continue
        if crumb in touched and not cut[crumb]:
            areas = touched[crumb]
            most = max(areas, key=lambda group: (areas[group], -group))
            if own >= 0 or abs(int(labels[crumb]) - int(bodies.labels[most])) > 1:
                groups[crumb] = most


def _nearest_of_name(
    pieces: Pieces, crumbs: NDArray[np.intp], *, seeds: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the nearest seed of each crumb's name, -1 where there is none, and the gap between both."""
    labels = pieces.outlines.labels
    nearest, gaps_mm = np.full(len(crumbs), -1, dtype=np.intp), np.full(len(crumbs), np.inf)
    for label in np.unique(labels[crumbs]):
        own, these = np.sort(seeds[labels[seeds] == label]), np.flatnonzero(labels[crumbs] == label)
        if len(own):
            apart = pieces.gaps_mm(crumbs[these], own)
            nearest[these], gaps_mm[these] = own[apart.argmin(axis=1)], apart.min(axis=1)
    return nearest, gaps_mm


def _touched(pieces: Pieces, groups: NDArray[np.intp]) -> dict[int, dict[int, float]]:
    """Return the mm² by which each piece without a group touches the groups there are."""
    touched: dict[int, dict[int, float]] = {}
    for pair, area in pieces.contacts_mm2.items():
        for crumb, other in (pair, pair[::-1]):
            if groups[crumb] == LOOSE and groups[other] != LOOSE:
                areas = touched.setdefault(crumb, {})
                areas[int(groups[other])] = areas.get(int(groups[other]), 0.0) + area
    return touched


def _renumbered(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    fresh = np.full(len(groups), LOOSE, dtype=np.intp)
    inside = groups != LOOSE
    fresh[inside] = np.unique(groups[inside], return_inverse=True)[1]
    return fresh
