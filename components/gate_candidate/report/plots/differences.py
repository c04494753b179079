"""Paired differences with their intervals, a row a rule or a region."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from components.gate_candidate.report.differences import DifferenceRow
from components.gate_candidate.report.plots.axes import BLUE, DENSITY, RED, TEXT, chart_name, plain
from spine.drawing.figures import Sheet

_DECIDED = {True: ("o", "holds", BLUE), False: ("X", "fails", RED), None: ("D", "can't tell", "white")}


def difference_plot(rows: Sequence[DifferenceRow], *, old: str, new: str) -> bytes:
    """Draw each difference, ``new`` minus ``old``, with its interval.

    A dotted mark is the bound that a rule holds the interval to, the marker says what was decided.
    """
    sheet = Sheet(width=610, height=610, density=DENSITY)
    axes = plain(sheet.axes(136, 34, 354, 464), grid="x")
    axes.axvline(0, color="#555555", linewidth=1.2, linestyle="--")
    for place, row in enumerate(rows):
        _row(axes, place, row)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], size=TEXT)
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"← {chart_name(old, most=18)} better   |   {chart_name(new, most=18)} better →", size=TEXT)
    sheet.figure.text(0.02, 0.985, "mean of the paired differences and its 95 % interval", va="top", size=TEXT)
    if any(row.bound is not None for row in rows):
        sheet.figure.text(0.5, 0.03, "dotted mark: the bound of the rule", ha="center", size=TEXT)
    return sheet.png()


def _row(axes: Axes, place: int, row: DifferenceRow) -> None:
    found = row.difference
    if found.mean is None:
        return
    low, high = (found.mean, found.mean) if found.low is None or found.high is None else (found.low, found.high)
    marker, decided, face = _DECIDED[row.passed] if row.bound is not None else ("o", "", BLUE)
    axes.plot([low, high], [place, place], color="black", linewidth=2.2, solid_capstyle="butt")
    axes.plot([low, high], [place, place], color="black", marker="|", markersize=11, linestyle="none")
    axes.plot([found.mean], [place], marker=marker, markersize=11, color=face, markeredgecolor="black")
    if row.bound is not None:
        axes.plot([row.bound] * 2, [place - 0.3, place + 0.3], color="black", linewidth=1.6, linestyle=":")
    # Beside the axes, where no interval can run through it.
    text = f"n = {found.patients}" + (f",\n{decided}" if decided else "")
    axes.text(1.03, place, text, transform=axes.get_yaxis_transform(), size=TEXT - 1, va="center")
