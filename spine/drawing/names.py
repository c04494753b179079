"""Where the names of vertebrae stand in a picture: on the bone that they name, and never on one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LETTER_PX: Final = 8.2
"""Width of a bold letter at the size of the names."""
LINE_PX: Final = 14.0
_GAP_PX: Final = 3.0
_SMALLEST_NAMED: Final = 30
_SECOND_SHARE: Final = 0.3
_MOST_TRIED: Final = 400


@dataclass(frozen=True)
class Name:
    """A name and the middle of its text in pixels."""

    text: str
    column: float
    row: float

    def meets(self, other: "Name") -> bool:
        """Say whether the two texts run into one another."""
        near = (len(self.text) + len(other.text)) * LETTER_PX / 2 + _GAP_PX
        return abs(self.column - other.column) < near and abs(self.row - other.row) < LINE_PX


def placed(shapes: Sequence[tuple[str, NDArray[np.bool_]]]) -> tuple[Name, ...]:
    """Place each text on its shape, an array of (rows, columns): in its largest connected part, nearest to the centre.

    A second part that lies levels away, as of two vertebrae of one name, has the text too. Where a text would meet
    another it moves along its bone; what finds no room there, the smallest bones at last, is left out, as are shapes of
    a few pixels.
    """
    parts = [(text, part) for text, shape in shapes for part in _named_parts(shape)]
    names: list[Name] = []
    for text, part in sorted(parts, key=lambda each: -each[1].sum()):
        free = (name for name in _places(text, part) if not any(name.meets(other) for other in names))
        if found := next(free, None):
            names.append(found)
    return tuple(names)


def _named_parts(shape: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return the largest connected part, and others that are not much smaller and more than its height away."""
    found, _ = ndimage.label(shape)
    sizes = np.bincount(found[shape], minlength=1)
    large = np.flatnonzero(sizes >= max(_SMALLEST_NAMED, _SECOND_SHARE * sizes.max()))
    parts = [np.asarray(found == number) for number in large[np.argsort(-sizes[large], kind="stable")]]
    if not parts:
        return []
    top, bottom = _rows(parts[0])
    height = bottom - top
    away = [part for part in parts[1:] if _rows(part)[0] > bottom + height or _rows(part)[1] < top - height]
    return [parts[0], *away]


def _rows(part: NDArray[np.bool_]) -> tuple[int, int]:
    held = np.flatnonzero(part.any(axis=1))
    return int(held[0]), int(held[-1])


def _places(text: str, part: NDArray[np.bool_]) -> list[Name]:
    """Return where a text can stand on a part without leaving the picture, nearest to the part's centre first."""
    points = np.argwhere(part)
    height, width = part.shape
    distances = np.linalg.norm(points - points.mean(axis=0), axis=1)
    order = np.argsort(distances, kind="stable")
    nearest = points[np.concatenate([order[:1], order[1 :: max(len(order) // _MOST_TRIED, 1)]])]
    margin = len(text) * LETTER_PX / 2
    columns = np.clip(nearest[:, 1], margin, max(width - margin, margin))
    rows = np.clip(nearest[:, 0], LINE_PX / 2, max(height - LINE_PX / 2, LINE_PX / 2))
    return [Name(text, float(column), float(row)) for column, row in zip(columns, rows, strict=True)]
