"""Dice by vertebra: a box and the points of every model."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from components.gate_candidate.report.entrants import Entrant
from components.gate_candidate.report.plots.axes import BLUE, DENSITY, GREY, TEXT, chart_name, plain
from spine.drawing.figures import Sheet
from spine.labels import NAMES, REGIONS
from spine.metrics.scores import Evaluation, LabelScore

# Fill, line and hatch: told apart in grey too.
_LOOKS: Final = (
    ("#a9c8e6", BLUE, ""), ("white", GREY, ""), ("#8c8c8c", "#222222", ""), ("white", "#7a4b00", "////"),
    ("#e3e3e3", "#0b5d34", "...."), ("white", "black", "xxxx"),
)  # fmt: skip
MOST_POINTS: Final = 40
"""Of more scans, their points would hide the box: only those outside the whiskers are drawn."""


def vertebra_plot(entrants: Sequence[Entrant]) -> bytes:
    """Draw a box and the points of Dice for every vertebra and model; hollow points are cut by the scan's border."""
    sheet = Sheet(width=1240, height=500, density=DENSITY)
    axes = plain(sheet.axes(72, 74, 1160, 380))
    shown = [_by_label(entrant.evaluation) for entrant in entrants]
    step = 0.8 / len(entrants)
    for label in NAMES:
        if not any(scores.get(label) for scores in shown):
            axes.axvspan(label - 0.5, label + 0.5, facecolor="#f4f4f4", edgecolor="#d6d6d6", hatch="//", linewidth=0)
        for place, scores in enumerate(shown):
            x = label + (place - (len(entrants) - 1) / 2) * step
            _box(axes, x, scores.get(label, []), width=0.85 * step, look=_LOOKS[place % len(_LOOKS)])
    for labels in REGIONS.values():
        axes.axvline(labels[-1] + 0.5, color="#999999", linewidth=0.8)
    axes.set_xlim(0.5, len(NAMES) + 0.5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(list(NAMES), list(NAMES.values()), size=TEXT)
    axes.set_ylabel("Dice (GT-present)", size=TEXT)
    _legend(sheet, entrants)
    return sheet.png()


def _by_label(evaluation: Evaluation) -> dict[int, list[LabelScore]]:
    found: dict[int, list[LabelScore]] = {}
    for scan in evaluation.scans:
        for score in scan.labels:
            if score.dice is not None:
                found.setdefault(score.label, []).append(score)
    return found


def _box(axes: Axes, x: float, scores: Sequence[LabelScore], *, width: float, look: tuple[str, str, str]) -> None:
    if not scores:
        return
    fill, line, hatch = look
    values = [score.dice or 0.0 for score in scores]
    style: dict[str, Any] = {"color": line, "linewidth": 1.1}
    axes.boxplot(
        [values], positions=[x], widths=width, showfliers=False, patch_artist=True, manage_ticks=False,
        boxprops={"facecolor": fill, "edgecolor": line, "linewidth": 1.1, "hatch": hatch},
        medianprops={"color": "black", "linewidth": 2.2}, whiskerprops=style, capprops=style,
    )  # fmt: skip
    # Spread by the golden ratio: points part from one another and lie alike on every run.
    jitter = (np.arange(len(scores)) * 0.618 % 1 - 0.5) * 0.7 * width
    drawn = range(len(scores)) if len(scores) <= MOST_POINTS else _outside_whiskers(values)
    for cut in (False, True):
        chosen = [index for index in drawn if bool(scores[index].at_border) == cut]
        axes.scatter(
            [x + jitter[index] for index in chosen], [values[index] for index in chosen], s=9, zorder=3,
            facecolor="white" if cut else line, edgecolor=line, linewidth=0.8,
        )  # fmt: skip


def _outside_whiskers(values: Sequence[float]) -> list[int]:
    lower, upper = np.quantile(values, (0.25, 0.75))
    reach = 1.5 * (upper - lower)
    return [index for index, value in enumerate(values) if not lower - reach <= value <= upper + reach]


def _legend(sheet: Sheet, entrants: Sequence[Entrant]) -> None:
    boxes = [
        Patch(facecolor=fill, edgecolor=line, hatch=hatch, label=chart_name(entrant.name))
        for entrant, (fill, line, hatch) in zip(entrants, _looks(len(entrants)), strict=True)
    ]
    point: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": "black", "markersize": 5}
    keys = [
        *boxes,
        Line2D([], [], color="black", linewidth=2.2, label="median"),
        Line2D([], [], markerfacecolor="black", label="whole vertebra, or not known", **point),
        Line2D([], [], markerfacecolor="white", label="cut by the border", **point),
        Patch(facecolor="#f4f4f4", edgecolor="#c0c0c0", hatch="//", label="no case"),
    ]
    sheet.figure.legend(
        handles=keys, loc="upper left", bbox_to_anchor=(66 / sheet.width, 1.0), ncols=4, fontsize=TEXT, frameon=False,
        columnspacing=1.6, handletextpad=0.6,
    )  # fmt: skip


def _looks(count: int) -> list[tuple[str, str, str]]:
    return [_LOOKS[place % len(_LOOKS)] for place in range(count)]
