"""Are the vertebrae named in order: checks of the levels on centroids, pieces, contacts, distances and volumes."""

from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import Final

import numpy as np

from components.prepare_dataset.checks.anatomy import Anatomy, Level
from components.prepare_dataset.reading import Remark
from spine.labels import IDS, NAMES

_ONE_PIECE: Final = 0.95
_CONTACT_MM2: Final = 60.0
"""Below this, labels that should not touch do so by a few voxels of noise."""
_FRAGMENT_MM3: Final = 500 * 1.5**3
_FRAGMENT_SHARE: Final = 0.1
"""Of the larger neighbour's volume: on a coarse grid a sliver may exceed the absolute limit."""
_DISTANCES: Final = (0.65, 1.45)
_VOLUMES: Final = (0.5, 1.7)
"""Ratios to what lies nearby. A level named twice, or two named as one, is off by a factor of about 2; on 70 phantom
spines the ratios were 0.78-1.16 and 0.62-1.25."""
_DISTANCE_MM: Final = (5.0, 70.0)
_HEIGHT_MM: Final = 130.0
_SACRUM_MM: Final = 180.0
"""No level of a child or a giant is beyond these: a scan that is has lost its spacing, or its labels their meaning."""
_UPRIGHT_DEG: Final = 60.0
"""Of the line from the first level to the last: lordosis and a tilted sacrum stay below, a turned scan does not."""
_NEARBY: Final = 3
_ODD_ONES: Final = frozenset({IDS["C1"], IDS["C2"], IDS["S1"]})
"""Their shapes are unlike their neighbours', so that neither distance nor volume follows on."""


def remarks(anatomy: Anatomy) -> Iterator[Remark]:
    """Yield what the levels of one scan give reason to doubt; each fault is told once, by the check nearest to it."""
    gaps = list(_gaps(anatomy))
    disordered = dict(_disordered(anatomy))
    yield from (remark for _, remark in gaps)
    yield from disordered.values()
    doubted = {label for pair in (*disordered, *(pair for pair, _ in gaps)) for label in pair}
    yield from _contacts(anatomy, doubted)
    yield from _pieces(anatomy)
    yield from _direction(anatomy)
    yield from _heights(anatomy)
    yield from _distances(anatomy, doubted)
    yield from _volumes(anatomy, doubted)
    yield from _fragments(anatomy)


def fragments(anatomy: Anatomy) -> list[int]:
    """Return the labels of which the border leaves a sliver: at most 500 voxels at 1.5 mm, or a tenth of a neighbour.

    The limit is the one by which such slivers were found to score 0.57 where whole vertebrae score 0.97.
    """
    return [level.label for level in anatomy.levels.values() if level.at_border and _is_sliver(level, anatomy)]


def _is_sliver(level: Level, anatomy: Anatomy) -> bool:
    beside = (anatomy.levels.get(level.label + step) for step in (-1, 1))
    neighbour = max((other.voxels for other in beside if other), default=0) * anatomy.voxel_mm3
    return level.voxels * anatomy.voxel_mm3 <= max(_FRAGMENT_MM3, _FRAGMENT_SHARE * neighbour)


def _fragments(anatomy: Anatomy) -> Iterator[Remark]:
    for label in fragments(anatomy):
        voxels = anatomy.levels[label].voxels
        yield Remark("border-fragment", voxels, f"{NAMES[label]} is a fragment of {voxels} voxels")


def _gaps(anatomy: Anatomy) -> Iterator[tuple[tuple[int, int], Remark]]:
    for upper, lower in pairwise(sorted(anatomy.levels)):
        if lower != upper + 1:
            message = f"{NAMES[upper]} is followed by {NAMES[lower]}"
            yield (upper, lower), Remark("contiguous-levels", lower - upper - 1, message)


def _disordered(anatomy: Anatomy) -> Iterator[tuple[tuple[int, int], Remark]]:
    slivers = set(fragments(anatomy))
    for upper, lower in pairwise(sorted(anatomy.levels)):
        too_high = float(anatomy.levels[lower].centroid_mm[2] - anatomy.levels[upper].centroid_mm[2])
        # The centroid of a sliver says little: the tip of a process may hang beside the next vertebra's body.
        if too_high >= 0 and not {upper, lower} & slivers:
            message = f"{NAMES[lower]} lies {too_high:.0f} mm above {NAMES[upper]}"
            yield (upper, lower), Remark("superior-to-inferior", too_high, message)


def _contacts(anatomy: Anatomy, doubted: set[int]) -> Iterator[Remark]:
    for (upper, lower), area in sorted(anatomy.contacts_mm2.items()):
        if lower - upper > 1 and area >= _CONTACT_MM2 and not {upper, lower} & doubted:
            message = f"{NAMES[upper]} and {NAMES[lower]} touch over {area:.0f} mm²"
            yield Remark("adjacent-levels", area, message)


def _pieces(anatomy: Anatomy) -> Iterator[Remark]:
    for level in anatomy.levels.values():
        if level.in_one_piece < _ONE_PIECE:
            share = level.in_one_piece
            message = f"{NAMES[level.label]}: main component holds {share:.0%} of its voxels"
            yield Remark("one-component", share, message)


def _whole_pairs(anatomy: Anatomy, doubted: set[int]) -> list[tuple[Level, Level]]:
    """Return neighbours that are both seen whole and can be compared with others."""
    usable = {label: level for label, level in anatomy.levels.items() if _is_usable(level, doubted)}
    return [(usable[label], usable[label + 1]) for label in sorted(usable) if label + 1 in usable]


def _is_usable(level: Level, doubted: set[int]) -> bool:
    return not level.at_border and level.label not in doubted and level.label not in _ODD_ONES


def _direction(anatomy: Anatomy) -> Iterator[Remark]:
    slivers = set(fragments(anatomy))
    seen = [level for label, level in sorted(anatomy.levels.items()) if label not in slivers]
    if len(seen) < 2:
        return
    along = seen[0].centroid_mm - seen[-1].centroid_mm
    length = float(np.linalg.norm(along))
    angle = float(np.degrees(np.arccos(np.clip(abs(along[2]) / length, 0, 1)))) if length else 0.0
    if angle > _UPRIGHT_DEG:
        names = f"{NAMES[seen[0].label]} to {NAMES[seen[-1].label]}"
        message = f"the line from {names} leans {angle:.0f} degrees off the axis of the body"
        yield Remark("upright-spine", angle, message)


def _heights(anatomy: Anatomy) -> Iterator[Remark]:
    for level in anatomy.levels.values():
        if level.height_mm > (_SACRUM_MM if level.label == IDS["S1"] else _HEIGHT_MM):
            message = f"{NAMES[level.label]} is {level.height_mm:.0f} mm tall"
            yield Remark("level-height", level.height_mm, message)


def _distances(anatomy: Anatomy, doubted: set[int]) -> Iterator[Remark]:
    pairs = _whole_pairs(anatomy, doubted)
    apart = [float(np.linalg.norm(upper.centroid_mm - lower.centroid_mm)) for upper, lower in pairs]
    for index, (upper, lower) in enumerate(pairs):
        names = f"{NAMES[upper.label]} and {NAMES[lower.label]}"
        if not _DISTANCE_MM[0] <= apart[index] <= _DISTANCE_MM[1]:
            message = f"{names} are {apart[index]:.1f} mm apart; vertebrae are 5 to 70 mm"
            yield Remark("level-distance", apart[index], message)
            return
        nearby = apart[max(index - _NEARBY, 0) : index] + apart[index + 1 : index + 1 + _NEARBY]
        if len(nearby) < 2:
            continue
        ratio = apart[index] / median(nearby)
        if not _DISTANCES[0] <= ratio <= _DISTANCES[1]:
            message = f"{names} are {apart[index]:.0f} mm apart; their neighbours {median(nearby):.0f} mm"
            yield Remark("level-spacing", ratio, message)


def _volumes(anatomy: Anatomy, doubted: set[int]) -> Iterator[Remark]:
    usable = {label: level.voxels for label, level in anatomy.levels.items() if _is_usable(level, doubted)}
    for label, voxels in usable.items():
        beside = [usable[label + step] for step in (-2, -1, 1, 2) if label + step in usable]
        if len(beside) < 2:
            continue
        ratio = voxels / median(beside)
        if not _VOLUMES[0] <= ratio <= _VOLUMES[1]:
            message = f"{NAMES[label]} has {ratio:.2f} times the volume of its neighbours"
            yield Remark("level-size", ratio, message)
