"""One case as a picture: CT, reference, prediction and difference, cut sagittally and coronally."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from spine.drawing.figures import Sheet
from spine.drawing.names import Name, placed
from spine.drawing.planes import Plane
from spine.drawing.shading import (
    ERRORS,
    RGB,
    Error,
    swatch,
    windowed,
    with_difference,
    with_levels,
)
from spine.labels import NAMES

_WIDTH, _GAP, _HEAD, _FOOT = 1240, 8, 46, 34
_OUTLINE = (withStroke(linewidth=2.2, foreground="black"),)
_BAR_MM = 50


@dataclass(frozen=True)
class _Panel:
    title: str
    picture: RGB
    names: tuple[Name, ...]
    remark: str | None = None
    oriented: bool = False


def draw_case(*, case: str, planes: tuple[Plane, Plane], compared: bool = True) -> bytes:
    """Return the PNG of a case; both planes lie in one row where the spine is long, in two where it is short.

    Without ``compared``, CT and labels are shown alone, in one row, not what a prediction makes of them.
    """
    panels = 4 if compared else 2
    widths = [plane.width_mm for plane in planes]
    height_mm = max(plane.height_mm for plane in planes)
    one_row = not compared or height_mm > 1.5 * max(widths)
    across_mm = panels * (sum(widths) if one_row else max(widths))
    gaps = _GAP * ((2 if one_row else 1) * panels + 1)
    scale = min((_WIDTH - gaps) / across_mm, (640 if one_row else 520) / height_mm)
    shown = [plane.sampled(pixels_per_mm=scale) for plane in planes]
    rows = 1 if one_row else 2
    tall = shown[0].image.shape[0]
    sheet = Sheet(width=across_mm * scale + gaps, height=rows * (tall + _HEAD + _GAP) + (_FOOT if compared else 0))
    left, top = float(_GAP), float(_HEAD)
    for plane in shown:
        for panel in islice(_panels(plane, compared=compared), panels):
            _draw(sheet.axes(left, top, plane.image.shape[1], tall), panel, plane)
            left += (plane.image.shape[1] if one_row else max(widths) * scale) + _GAP
        if not one_row:
            left, top = float(_GAP), top + tall + _GAP + _HEAD
    sheet.figure.text(
        _GAP / sheet.width, 1 - 5 / sheet.height, case, va="top", size=11, weight="bold", parse_math=False
    )
    if compared:
        _legend(sheet)
    return sheet.png()


def _panels(plane: Plane, *, compared: bool) -> Iterator[_Panel]:
    grey = windowed(plane.image)
    title = plane.name.capitalize()
    yield _Panel(f"{title}: CT", grey, (), oriented=True)
    yield _Panel("reference" if compared else "labels", with_levels(grey, plane.reference), _names(plane.reference))
    guess = plane.prediction
    if guess is None:
        nothing = np.zeros_like(plane.reference)
        yield _Panel("prediction", grey, (), "no prediction")
        yield _Panel("difference", with_difference(grey, plane.reference, nothing), (), "all bone missed")
        return
    yield _Panel("prediction", with_levels(grey, guess), _names(guess))
    confused = _confusions(plane.reference, guess)
    yield _Panel("difference", with_difference(grey, plane.reference, guess), confused)


def _names(labels: NDArray[np.uint8]) -> tuple[Name, ...]:
    return placed([(NAMES[int(label)], labels == label) for label in np.unique(labels[labels > 0])])


def _confusions(reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> tuple[Name, ...]:
    """Name, at each vertebra whose name differs over most of the bone found, reference → prediction."""
    named = []
    for label in np.unique(reference[reference > 0]):
        found = (reference == label) & (prediction > 0)
        wrong = found & (prediction != label)
        if 2 * wrong.sum() > found.sum():
            other = int(np.bincount(prediction[wrong]).argmax())
            named.append((f"{NAMES[int(label)]}→{NAMES[other]}", wrong))
    return placed(named)


def _draw(axes: Axes, panel: _Panel, plane: Plane) -> None:
    axes.set_axis_off()
    axes.imshow(panel.picture, interpolation="nearest", aspect="auto")
    axes.set_title(panel.title, size=11, pad=3, loc="left")
    height, width = plane.image.shape
    for name in panel.names:
        _write(axes, name.column, name.row, name.text, size=9, weight="bold")
    if panel.oriented:
        _orient(axes, plane)
    if panel.remark:
        _write(axes, width / 2, height / 2, panel.remark, size=11, weight="bold")


def _orient(axes: Axes, plane: Plane) -> None:
    """Letter the four sides and draw a scale bar."""
    height, width = plane.image.shape
    left, right = plane.sides
    sides = ((left, 8, height / 2), (right, width - 8, height / 2), ("S", width / 2, 9), ("I", width / 2, height - 9))
    for letter, x, y in sides:
        _write(axes, x, y, letter, size=11, weight="bold", color="#ffe9a8")
    length = _BAR_MM / plane.column_mm
    if length < 0.6 * width:
        axes.plot([6, 6 + length], [height - 6] * 2, color="white", linewidth=2, path_effects=_OUTLINE)
        _write(axes, 6, height - 16, f"{_BAR_MM} mm", size=9, horizontalalignment="left")


def _write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    style = {"color": "white", "horizontalalignment": "center", "verticalalignment": "center", **style}
    axes.text(x, y, text, path_effects=_OUTLINE, clip_on=True, **style)


def _legend(sheet: Sheet) -> None:
    entries: tuple[Error | None, ...] = (*ERRORS, None)
    left = float(_GAP)
    for error in entries:
        name = error.name if error else "agreement (white edge)"
        axes = sheet.axes(left, sheet.height - 26, 30, 18)
        axes.set_axis_off()
        axes.imshow(swatch(error, rows=18, columns=30), interpolation="nearest", aspect="auto")
        sheet.figure.text((left + 36) / sheet.width, 17 / sheet.height, name, va="center", size=11)
        left += 36 + 8.6 * len(name) + 22
