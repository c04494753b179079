"""The shapes of vertebrae in their own frames: typical ones, the atlas, the axis and the first sacral one."""

from collections.abc import Callable

import numpy as np

from spine.labels import IDS
from spine.phantom.anatomy import Level
from spine.phantom.shapes import Field, Points, Position, blade, capsule, column, ellipsoid, tube, union

Shape = Callable[[Points], Field]


def vertebra_shape(level: Level, *, label: int) -> Shape:
    """Return the signed distance (mm) of a whole vertebra: body, arch and processes, canal left open."""
    if label == IDS["C1"]:
        return lambda points: _atlas(points, level)
    if label == IDS["S1"]:
        return lambda points: sacral_segment(points, level)
    return lambda points: _hollowed(points, level, _typical(points, level, label=label))


def vertebra_box(level: Level) -> tuple[Position, Position]:
    """Return two corners (mm, in the vertebra's frame) between which all of it lies."""
    reach = max(level.transverse_mm, level.width_mm / 2) + level.process_mm + 3
    back = level.depth_mm / 2 + level.canal_depth_mm + level.spinous_mm + 12
    below = level.height_mm + level.spinous_mm * np.sin(np.deg2rad(max(level.spinous_drop_deg, 0))) + 8
    return (-reach, -back, -float(below)), (reach, level.depth_mm / 2 + 10, level.height_mm + 12)


def sacral_segment(points: Points, level: Level) -> Field:
    """Return the distance to a sacral vertebra: wedged body, alae to both sides and a low median crest."""
    reach, half = level.transverse_mm, level.height_mm / 2
    body = column(
        points,
        width_mm=level.width_mm,
        depth_mm=level.depth_mm,
        height_mm=level.height_mm,
        taper=0.13,
        wedge=0.08,
    )
    back = -level.depth_mm / 2
    alae = [
        ellipsoid(
            points,
            centre=(side * (reach * 0.58), back * 0.45, -half * 0.1),
            radii_mm=(reach * 0.42, level.depth_mm * 0.5, half * 0.95),
        )
        for side in (-1, 1)
    ]
    canal = (0.0, back - level.canal_depth_mm / 2)
    hollow = tube(points, centre=canal, radii_mm=(level.canal_width_mm / 2, level.canal_depth_mm / 2))
    roof = union(*_arch(points, level), _spinous(points, level))
    return np.maximum(union(body, *alae, roof), -hollow)


def _typical(points: Points, level: Level, *, label: int) -> Field:
    body = column(
        points,
        width_mm=level.width_mm,
        depth_mm=level.depth_mm,
        height_mm=level.height_mm,
        waist=0.09,
        wedge=0.06 if label in (IDS["L4"], IDS["L5"]) else 0.0,
        dish_mm=0.05 * level.height_mm,
    )
    parts = [body, *_arch(points, level), *_transverse(points, level, label=label), _spinous(points, level)]
    if label == IDS["C2"]:
        top, radius = level.height_mm / 2, 0.28 * level.width_mm
        dens = (0.0, 0.0, top - 3.0), (0.0, -0.5, top + 0.72 * level.height_mm)
        parts.append(capsule(points, start=dens[0], end=dens[1], radii_mm=(radius * 1.15, radius)))
    return union(*parts)


def _hollowed(points: Points, level: Level, solid: Field) -> Field:
    centre = (0.0, -level.depth_mm / 2 - level.canal_depth_mm / 2)
    canal = tube(points, centre=centre, radii_mm=(level.canal_width_mm / 2, level.canal_depth_mm / 2))
    return np.maximum(solid, -canal)


def _arch(points: Points, level: Level) -> list[Field]:
    half, radius, back = level.height_mm / 2, level.process_mm, -level.depth_mm / 2
    beside, behind = level.canal_width_mm / 2, back - level.canal_depth_mm
    parts = []
    for side in (-1, 1):
        pillar = (side * (beside + 0.6 * radius), back - 0.55 * level.canal_depth_mm, 0.25 * half)
        root = (side * min(beside, level.width_mm / 2 - 0.8 * radius), back + radius, 0.45 * half)
        ridge = (side * 0.5, behind - 0.7 * radius, -0.25 * half)
        facet_up = (side * (beside + 1.2 * radius), pillar[1] - 0.2 * radius, 1.25 * half)
        facet_down = (side * (beside + 0.1 * radius), pillar[1] - 1.3 * radius, -1.25 * half)
        parts += [
            capsule(points, start=root, end=pillar, radii_mm=(radius * 1.15, radius)),
            capsule(points, start=pillar, end=ridge, radii_mm=(radius, radius * 0.95)),
            capsule(points, start=pillar, end=facet_up, radii_mm=(radius, radius * 0.75)),
            capsule(points, start=pillar, end=facet_down, radii_mm=(radius, radius * 0.85)),
        ]
    return parts


def _transverse(points: Points, level: Level, *, label: int) -> list[Field]:
    half, radius, back = level.height_mm / 2, level.process_mm, -level.depth_mm / 2
    beside = level.canal_width_mm / 2
    if label < IDS["T1"]:
        root, tip = (level.width_mm / 2 - 2, 0.2 * back, 0.0), (0.5 * back, -0.1 * half)
        bar = (level.width_mm / 2 + 2, 0.6 * back)
    elif label < IDS["L1"]:
        root, tip = (
            (beside + radius, back - 0.5 * level.canal_depth_mm, 0.2 * half),
            (back - 19.0, 0.5 * half),
        )
        bar = None
    else:
        root, tip = (
            (beside + 0.5 * radius, back - 0.3 * level.canal_depth_mm, 0.2 * half),
            (back - 9.0, 0.15 * half),
        )
        bar = None
    slim = 0.8 if label >= IDS["L1"] else 1.0
    parts = []
    for side in (-1, 1):
        end = (side * (level.transverse_mm - radius), tip[0], tip[1])
        start = (side * root[0], root[1], root[2])
        parts.append(capsule(points, start=start, end=end, radii_mm=(radius, radius * slim)))
        if bar is not None:
            arch = (side * (beside + 0.6 * radius), back - 0.4 * level.canal_depth_mm, 0.0)
            parts.append(capsule(points, start=arch, end=end, radii_mm=(radius, radius * 0.9)))
    return parts


def _spinous(points: Points, level: Level) -> Field:
    start = (0.0, -level.depth_mm / 2 - level.canal_depth_mm - 1.0, -0.3 * level.height_mm / 2)
    return blade(
        points,
        start=start,
        length_mm=level.spinous_mm + level.process_mm,
        drop_deg=level.spinous_drop_deg,
        thickness_mm=1.7 * level.process_mm,
        height_mm=level.spinous_height_mm,
    )


def _atlas(points: Points, level: Level) -> Field:
    # The dens of C2 stands at this frame's origin; the anterior arch passes in front of it.
    radius, front, back = (
        level.process_mm,
        11.0 * level.depth_mm / 12,
        -level.depth_mm / 2 - level.canal_depth_mm,
    )
    outer, half = level.width_mm / 2 + 3, level.height_mm / 2
    parts = [
        ellipsoid(points, centre=(0.0, front + 1, 0.0), radii_mm=(5.0, 4.0, half)),
        ellipsoid(points, centre=(0.0, back - radius, 0.0), radii_mm=(5.0, 4.5, 0.7 * half)),
    ]
    for side in (-1, 1):
        mass: Position = (side * outer, -2.0, 0.0)
        rear: Position = (side * outer * 0.85, 0.75 * back, 0.0)
        parts += [
            ellipsoid(points, centre=mass, radii_mm=(7.0, 9.0, half * 1.15)),
            capsule(points, start=mass, end=(side * 2.0, front, 0.0), radii_mm=(radius * 1.1, radius)),
            capsule(points, start=mass, end=rear, radii_mm=(radius, radius)),
            capsule(points, start=rear, end=(0.0, back - 0.5 * radius, 0.0), radii_mm=(radius, radius)),
            capsule(
                points,
                start=mass,
                end=(side * (level.transverse_mm - radius), -6.0, -1.0),
                radii_mm=(radius * 1.2, radius),
            ),
        ]
    return union(*parts)
