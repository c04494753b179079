"""Label maps painted over CT so that a grey print still tells levels and errors apart: fill, stripes and edges."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL

RGB = NDArray[np.float64]

WINDOW_HU: Final = (1800.0, 400.0)
"""Width and level of the CT window."""

# Light and dark take turns, so neighbours differ in grey too; the dark ones are striped besides.
_CYCLE: Final = (
    (0.97, 0.91, 0.30),
    (0.05, 0.36, 0.75),
    (1.00, 0.66, 0.20),
    (0.00, 0.50, 0.38),
    (0.52, 0.83, 1.00),
    (0.75, 0.20, 0.15),
)
LEVEL_COLOURS: Final = tuple(_CYCLE[(label - 1) % len(_CYCLE)] for label in range(1, MAX_LABEL + 1))


@dataclass(frozen=True)
class Error:
    """One kind of difference: its colour, and which way its stripes run (1 rises, -1 falls, 0 is a cross-hatch)."""

    name: str
    colour: tuple[float, float, float]
    slope: int


MISSED: Final = Error("bone missed", (0.35, 0.70, 1.00), -1)
EXTRA: Final = Error("predicted where there is none", (1.00, 0.60, 0.10), 1)
MISNAMED: Final = Error("bone found, wrong name", (0.95, 0.25, 0.55), 0)
ERRORS: Final = (MISSED, EXTRA, MISNAMED)


def windowed(hu: NDArray[Any]) -> RGB:
    """Map HU of shape (rows, columns) through the CT window to grey of shape (rows, columns, 3), 0-1."""
    width, level = WINDOW_HU
    grey = np.clip((np.asarray(hu, dtype=np.float64) - level + width / 2) / width, 0, 1)
    return np.repeat(grey[..., None], 3, axis=2)


def with_levels(picture: RGB, labels: NDArray[np.uint8]) -> RGB:
    """Paint each level in its colour, every second one striped, all with an edge."""
    painted = picture.copy()
    for label in np.unique(labels[labels > 0]):
        shape = labels == label
        _fill(painted, shape, LEVEL_COLOURS[label - 1], opacity=0.42)
        if label % 2 == 0:
            _fill(painted, shape & _stripes(shape.shape, 1), LEVEL_COLOURS[label - 1], opacity=0.75)
    inner = _edges(labels)
    for label in np.unique(labels[inner]):
        _fill(painted, inner & (labels == label), LEVEL_COLOURS[label - 1], opacity=1.0)
    return painted


def with_difference(picture: RGB, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> RGB:
    """Paint the three kinds of error, and outline in white the bone on which both agree."""
    painted = picture.copy()
    agreed = np.where(reference == prediction, reference, 0).astype(np.uint8)
    _fill(painted, agreed > 0, (1.0, 1.0, 1.0), opacity=0.10)
    _fill(painted, _edges(agreed), (1.0, 1.0, 1.0), opacity=0.75)
    for error, shape in errors(reference, prediction):
        _paint_error(painted, shape, error)
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
    _paint_error(picture, whole > 0, error)
    return picture


def _paint_error(picture: RGB, shape: NDArray[np.bool_], error: Error) -> None:
    # Dark between, light on the stripes: without colour, the stripes alone must stand out from bone.
    red, green, blue = error.colour
    _fill(picture, shape, (0.5 * red, 0.5 * green, 0.5 * blue), opacity=0.75)
    for slope in (1, -1) if error.slope == 0 else (error.slope,):
        _fill(picture, shape & _stripes(shape.shape, slope), _lightened(error.colour), opacity=0.95)
    _fill(picture, _edges(shape.astype(np.uint8)), _lightened(error.colour), opacity=1.0)


def _lightened(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = (0.7 * part + 0.3 for part in colour)
    return (red, green, blue)


def _fill(picture: RGB, shape: NDArray[np.bool_], colour: tuple[float, float, float], *, opacity: float) -> None:
    picture[shape] = (1 - opacity) * picture[shape] + opacity * np.asarray(colour)


def _stripes(shape: tuple[int, ...], slope: int) -> NDArray[np.bool_]:
    rows, columns = np.indices(shape)
    return np.asarray((rows + slope * columns) % 7 < 2)


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the pixels of a label that touch another label, the background or the picture's border."""
    framed = np.pad(labels, 1)
    centre = framed[1:-1, 1:-1]
    around = (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:])
    return np.asarray((centre > 0) & np.logical_or.reduce([centre != other for other in around]))
