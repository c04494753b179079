"""Label maps painted over CT so that a grey print still tells levels and errors apart: fill, pattern and edges."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spine.drawing.patterns import Pattern, chequered, dotted, falling, level, rising, upright

RGB = NDArray[np.float64]

WINDOW_HU: Final = (1800.0, 400.0)
"""Width and level of the CT window."""

Colour = tuple[float, float, float]

# Light and dark take turns; eight colours with five patterns make forty looks, so that no two of the 25 levels share
# one, and levels less than eight apart, T12 and S1 among them, not even a colour.
_COLOURS: Final[tuple[Colour, ...]] = (
    (0.97, 0.91, 0.30),
    (0.05, 0.30, 0.70),
    (1.00, 0.60, 0.15),
    (0.00, 0.42, 0.30),
    (0.52, 0.83, 1.00),
    (0.65, 0.10, 0.10),
    (1.00, 0.72, 0.85),
    (0.36, 0.12, 0.60),
)
_PATTERNS: Final[tuple[Pattern, ...]] = (rising, level, dotted, falling, upright)


@dataclass(frozen=True)
class Look:
    """What an area is painted in: its ground, and the pattern on it with the pattern's colour."""

    ground: Colour
    marks: Colour
    pattern: Pattern


@dataclass(frozen=True)
class Error:
    """One kind of difference and its look."""

    name: str
    look: Look


def level_look(label: int) -> Look:
    """Return the look of a level, 1-25: light with dark marks, the next one dark with light marks."""
    colour = _COLOURS[(label - 1) % len(_COLOURS)]
    marks = _darkened(colour) if label % 2 else _lightened(colour)
    return Look(ground=colour, marks=marks, pattern=_PATTERNS[(label - 1) % len(_PATTERNS)])


# A rim of an error is too thin for its pattern: in grey, dark, light and chequered must tell the three apart.
MISSED: Final = Error("bone missed", Look(ground=(0.0, 0.05, 0.25), marks=(0.25, 0.50, 0.90), pattern=level))
EXTRA: Final = Error(
    "predicted where there is none", Look(ground=(1.00, 0.90, 0.60), marks=(0.60, 0.25, 0.00), pattern=rising)
)
MISNAMED: Final = Error(
    "bone found, wrong name", Look(ground=(0.30, 0.00, 0.16), marks=(1.00, 0.62, 0.80), pattern=chequered)
)
ERRORS: Final = (MISSED, EXTRA, MISNAMED)


def windowed(hu: NDArray[Any]) -> RGB:
    """Map HU of shape (rows, columns) through the CT window to grey of shape (rows, columns, 3), 0-1."""
    width, level = WINDOW_HU
    grey = np.clip((np.asarray(hu, dtype=np.float64) - level + width / 2) / width, 0, 1)
    return np.repeat(grey[..., None], 3, axis=2)


def with_levels(picture: RGB, labels: NDArray[np.uint8]) -> RGB:
    """Paint each level in its look, with an edge."""
    painted = picture.copy()
    inner = _edges(labels)
    for label in np.unique(labels[labels > 0]):
        look, shape = level_look(int(label)), labels == label
        _paint(painted, shape, look, ground=0.6, marks=0.8)
        _fill(painted, inner & shape, look.marks, opacity=1.0)
    return painted


def with_difference(picture: RGB, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> RGB:
    """Paint the three kinds of error, and outline in white the bone on which both agree."""
    painted = picture.copy()
    agreed = np.where(reference == prediction, reference, 0).astype(np.uint8)
    _fill(painted, agreed > 0, (1.0, 1.0, 1.0), opacity=0.10)
    _fill(painted, _edges(agreed), (1.0, 1.0, 1.0), opacity=0.75)
    for error, shape in errors(reference, prediction):
        _paint(painted, shape, error.look, ground=0.85, marks=0.95)
    return painted


def errors(reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> tuple[tuple[Error, NDArray[np.bool_]], ...]:
    """Return where each kind of error is."""
    known, guessed = reference > 0, prediction > 0
    return (
        (MISSED, known & ~guessed),
        (EXTRA, guessed & ~known),
        (MISNAMED, known & guessed & (reference != prediction)),
    )


def swatch(error: Error | None, *, rows: int, columns: int) -> RGB:
    """Return a sample of an error's paint for a legend; None is agreement."""
    picture = np.full((rows, columns, 3), 0.35)
    whole = np.ones((rows, columns), dtype=np.uint8)
    if error is None:
        return with_difference(picture, whole, whole)
    _paint(picture, whole > 0, error.look, ground=0.85, marks=0.95)
    return picture


def _paint(picture: RGB, shape: NDArray[np.bool_], look: Look, *, ground: float, marks: float) -> None:
    """Paint ``shape``; ``ground`` and ``marks`` are the opacities of the two."""
    marked = look.pattern((shape.shape[0], shape.shape[1]))
    _fill(picture, shape & ~marked, look.ground, opacity=ground)
    _fill(picture, shape & marked, look.marks, opacity=marks)


def _lightened(colour: Colour) -> Colour:
    red, green, blue = (0.35 * part + 0.65 for part in colour)
    return (red, green, blue)


def _darkened(colour: Colour) -> Colour:
    red, green, blue = (0.35 * part for part in colour)
    return (red, green, blue)


def _fill(picture: RGB, shape: NDArray[np.bool_], colour: Colour, *, opacity: float) -> None:
    picture[shape] = (1 - opacity) * picture[shape] + opacity * np.asarray(colour)


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the pixels of a label that touch another label, the background or the picture's border."""
    framed = np.pad(labels, 1)
    centre = framed[1:-1, 1:-1]
    around = (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:])
    return np.asarray((centre > 0) & np.logical_or.reduce([centre != other for other in around]))
