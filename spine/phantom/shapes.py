"""Signed distances in mm to simple solids, negative inside, evaluated on arrays of points."""

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Points = tuple[Field, Field, Field]
Position = tuple[float, float, float]

_TINY = np.float32(1e-3)


def union(*fields: Field) -> Field:
    """Return the distance to whichever solid is nearest."""
    nearest = fields[0]
    for field in fields[1:]:
        nearest = np.minimum(nearest, field)
    return nearest


def ellipsoid(points: Points, *, centre: Position, radii_mm: Position) -> Field:
    """Return the distance to an ellipsoid along the ray from its centre: exact at its surface."""
    offsets = [axis - np.float32(origin) for axis, origin in zip(points, centre, strict=True)]
    squares = [offset * offset for offset in offsets]
    reach = np.sqrt(squares[0] + squares[1] + squares[2]) + _TINY
    a, b, c = (np.float32(1 / (radius * radius)) for radius in radii_mm)
    scaled = np.sqrt(squares[0] * a + squares[1] * b + squares[2] * c) + _TINY / np.float32(max(radii_mm))
    return np.asarray(reach - reach / scaled, dtype=np.float32)


def capsule(points: Points, *, start: Position, end: Position, radii_mm: tuple[float, float]) -> Field:
    """Return the distance to a round rod from ``start`` to ``end`` that tapers between two radii."""
    axis = [float(last - first) for first, last in zip(start, end, strict=True)]
    offsets = [field - np.float32(origin) for field, origin in zip(points, start, strict=True)]
    length_squared = max(sum(part * part for part in axis), 1e-6)
    along = sum((offset * np.float32(part) for offset, part in zip(offsets, axis, strict=True)), np.float32(0))
    share = np.clip(along * np.float32(1 / length_squared), np.float32(0), np.float32(1))
    x, y, z = (offset - share * np.float32(part) for offset, part in zip(offsets, axis, strict=True))
    radius = np.float32(radii_mm[0]) + share * np.float32(radii_mm[1] - radii_mm[0])
    return np.asarray(np.sqrt(x * x + y * y + z * z) - radius, dtype=np.float32)


def blade(
    points: Points,
    *,
    start: Position,
    length_mm: float,
    drop_deg: float,
    thickness_mm: float,
    height_mm: float,
) -> Field:
    """Return the distance to a rounded plate in the mid-sagittal plane that runs back from ``start``.

    ``drop_deg`` is its slope below the horizontal of the vertebra; ``height_mm`` is measured across the plate.
    """
    angle = np.deg2rad(drop_deg)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    back, up = np.float32(start[1]) - points[1], points[2] - np.float32(start[2])
    along, across = back * cosine - up * sine, up * cosine + back * sine
    rounding = np.float32(thickness_mm / 2)
    x = np.abs(points[0] - np.float32(start[0]))
    y = np.maximum(np.abs(along - np.float32(length_mm / 2)) - np.float32(length_mm / 2) + rounding, 0)
    z = np.maximum(np.abs(across) - np.float32(height_mm / 2) + rounding, 0)
    return np.asarray(np.sqrt(x * x + y * y + z * z) - rounding, dtype=np.float32)


def column(
    points: Points,
    *,
    width_mm: float,
    depth_mm: float,
    height_mm: float,
    waist: float = 0.0,
    taper: float = 0.0,
    wedge: float = 0.0,
    dish_mm: float = 0.0,
) -> Field:
    """Return the distance to an upright elliptic cylinder about the origin, as a vertebral body or a disc.

    ``waist`` narrows the middle, ``taper`` the lower end, ``wedge`` raises the front; ``dish_mm`` hollows
    both endplates.
    """
    u, v, w = points
    level = w * np.float32(2 / height_mm)
    girth = 1 + np.float32(taper) * level - np.float32(waist) * np.maximum(1 - level * level, 0)
    girth = np.maximum(girth, np.float32(0.3))
    reach = np.sqrt(u * u + v * v) + _TINY
    scaled = np.sqrt((u * np.float32(2 / width_mm)) ** 2 + (v * np.float32(2 / depth_mm)) ** 2) / girth + _TINY
    side = reach - reach / scaled
    half = np.float32(height_mm / 2) * (1 + np.float32(wedge * 2 / depth_mm) * v)
    half = half - np.float32(dish_mm) * np.maximum(1 - scaled * scaled, 0)
    return _rounded_intersection(side, np.abs(w) - half, rounding_mm=min(2.0, height_mm / 5))


def tube(points: Points, *, centre: tuple[float, float], radii_mm: tuple[float, float]) -> Field:
    """Return the distance to an endless elliptic tube along the third axis."""
    u, v = points[0] - np.float32(centre[0]), points[1] - np.float32(centre[1])
    reach = np.sqrt(u * u + v * v) + _TINY
    scaled = np.sqrt((u / np.float32(radii_mm[0])) ** 2 + (v / np.float32(radii_mm[1])) ** 2) + _TINY
    return np.asarray(reach - reach / scaled, dtype=np.float32)


def _rounded_intersection(first: Field, second: Field, *, rounding_mm: float) -> Field:
    rounding = np.float32(rounding_mm)
    x, y = np.maximum(first + rounding, 0), np.maximum(second + rounding, 0)
    inside = np.minimum(np.maximum(first, second), -rounding)
    return np.asarray(inside + np.sqrt(x * x + y * y), dtype=np.float32)
