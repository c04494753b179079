"""Where the slices of a DICOM series lie: their order along the normal, the faults that forbid a volume, the grid."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from spine.errors import SpinelineError
from spine.volume.grid import TOLERANCE, Grid

SeriesFault = Literal["readable", "one-series", "gantry-tilt", "uniform-slices"]

_RAS_OF_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_ROUNDED_DIRECTION: Final = 1e-3
"""How far directions may be from perpendicular unit vectors: archives round them to three or four decimals."""
_SIDEWAYS: Final = 1e-3
_SAME_PLACE_MM: Final = 1e-3
_GAP_MM: Final = 0.02
_GAP_FRACTION: Final = 0.02


class SeriesError(SpinelineError):
    """A folder of DICOM files is no readable, uniform CT series.

    ``fault`` is the check that it fails, ``value`` the number that was found: files at fault (``readable``), series,
    frames or patients (``one-series``), degrees (``gantry-tilt``), the odd gap in mm, or the slices where they are too
    few or differ in size (``uniform-slices``).
    """

    def __init__(self, path: Path, *, fault: SeriesFault, value: float, reason: str, expected: str) -> None:
        self.fault: SeriesFault = fault
        self.value = float(value)
        super().__init__(f"{path}: {reason}; expected {expected}")


@dataclass(frozen=True)
class Slice:
    """One image of a series as its header places it, in DICOM's LPS millimetres.

    ``spacing_mm`` is the distance between rows, then between columns; ``directions`` holds the unit vector along a row
    (to the next column), then the one along a column (to the next row).
    """

    path: Path
    rows: int
    columns: int
    spacing_mm: tuple[float, ...]
    directions: tuple[float, ...]
    position_mm: tuple[float, ...]


def stacked(folder: Path, slices: list[Slice]) -> tuple[list[Slice], Grid]:
    """Return the slices by increasing position on their normal, and the RAS+ grid of shape (columns, rows, slices).

    Raises SeriesError for fewer than two slices, slices that differ in size, spacing or orientation, gantry tilt,
    two slices at one position, and gaps that differ from their median by more than 2 % and 0.02 mm.
    """
    if len(slices) < 2:
        raise SeriesError(
            folder,
            fault="uniform-slices",
            value=len(slices),
            reason=f"holds {len(slices)} slices",
            expected="2 or more",
        )
    _require_alike(folder, slices)
    axes = _axes(slices[0])
    positions = np.asarray([image.position_mm for image in slices])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    ordered = [slices[index] for index in order]
    _require_upright(folder, positions[order], normal=axes[:, 2])
    gap_mm = _require_even(folder, ordered, along_mm=positions[order] @ axes[:, 2])
    first = ordered[0]
    affine = np.eye(4)
    affine[:3, :3] = axes * [first.spacing_mm[1], first.spacing_mm[0], gap_mm]
    affine[:3, 3] = first.position_mm
    return ordered, Grid.of((first.columns, first.rows, len(ordered)), _RAS_OF_LPS @ affine)


def _require_alike(folder: Path, slices: list[Slice]) -> None:
    usual = Counter(_shape(image) for image in slices).most_common(1)[0][0]
    odd = [image for image in slices if not np.allclose(_shape(image), usual, rtol=0, atol=TOLERANCE)]
    if not odd:
        return
    rows, columns, *rest = (round(float(number), 4) for number in _shape(odd[0]))
    found = f"{rows:.0f} x {columns:.0f} pixels, spacing {rest[:2]} mm, orientation {rest[2:]}"
    raise SeriesError(
        folder,
        fault="uniform-slices",
        value=len(odd),
        reason=f"{len(odd)} of {len(slices)} slices differ from the rest ({odd[0].path.name}: {found})",
        expected="one size, spacing and orientation",
    )


def _shape(image: Slice) -> tuple[float, ...]:
    return (image.rows, image.columns, *image.spacing_mm, *image.directions)


def _axes(image: Slice) -> NDArray[np.float64]:
    """Return unit vectors along a row, a column and the normal as the columns of a (3, 3) array, rounding undone."""
    row, column = np.asarray(image.directions).reshape(2, 3)
    if not np.allclose([row @ row, column @ column, 1 + row @ column], 1, rtol=0, atol=_ROUNDED_DIRECTION):
        raise SeriesError(
            image.path,
            fault="readable",
            value=1,
            reason=f"has ImageOrientationPatient {image.directions}",
            expected="two perpendicular unit vectors",
        )
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column /= np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def _require_upright(folder: Path, positions: NDArray[np.float64], *, normal: NDArray[np.float64]) -> None:
    offsets = positions - positions[0]
    along = offsets @ normal
    sideways = np.linalg.norm(offsets - along[:, None] * normal, axis=1)
    worst = int(np.argmax(sideways))
    if sideways[worst] <= _SIDEWAYS * along[-1]:
        return
    degrees = math.degrees(math.atan2(sideways[worst], along[worst]))
    raise SeriesError(
        folder,
        fault="gantry-tilt",
        value=degrees,
        reason=f"slices are displaced {degrees:.2f} degrees off their normal",
        expected="no gantry tilt",
    )


def _require_even(folder: Path, ordered: list[Slice], *, along_mm: NDArray[np.float64]) -> float:
    """Return the mean gap in mm, or refuse."""
    gaps = np.diff(along_mm)
    median = float(np.median(gaps))
    closest, oddest = int(np.argmin(gaps)), int(np.argmax(np.abs(gaps - median)))
    if gaps[closest] < _SAME_PLACE_MM:
        at, expected = closest, "one slice a position"
    elif abs(gaps[oddest] - median) > max(_GAP_FRACTION * median, _GAP_MM):
        at, expected = oddest, f"gaps of {median:.3f} mm (their median)"
    else:
        return float(np.mean(gaps))
    below, above = ordered[at].path.name, ordered[at + 1].path.name
    where = f"{below} at {along_mm[at]:.3f} mm and {above} at {along_mm[at + 1]:.3f} mm along the normal"
    raise SeriesError(
        folder,
        fault="uniform-slices",
        value=gaps[at],
        reason=f"a gap of {gaps[at]:.3f} mm lies between {where}",
        expected=expected,
    )
