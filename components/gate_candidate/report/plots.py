"""Charts of an evaluation: Dice by vertebra, scan against scan, and differences with their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from model_registry.verdict import Rule
from spine.drawing.figures import Sheet
from spine.labels import NAMES, REGIONS
from spine.metrics.scores import Evaluation, LabelScore, ScanScores

_OURS, _THEIRS, _FAINT = "#0b4f8a", "#6b6b6b", "#d9d9d9"
_NAMED_LOSSES = 4
_DECIDED = {True: ("o", "holds"), False: ("X", "fails"), None: ("D", "can't tell")}


def vertebra_plot(*, candidate: Evaluation, champion: Evaluation | None) -> bytes:
    """Draw a box and the points of Dice for every vertebra; hollow points are cut by the border of the scan."""
    sheet = Sheet(width=1240, height=380)
    axes = _plain(sheet.axes(58, 30, 1170, 318))
    rows = [(candidate, _OURS, 0.0)] if champion is None else [(candidate, _OURS, -0.2), (champion, _THEIRS, 0.2)]
    for label in NAMES:
        if not any(_dice_of(evaluation, label) for evaluation, _, _ in rows):
            axes.axvspan(label - 0.5, label + 0.5, facecolor="#f4f4f4", edgecolor="#d6d6d6", hatch="//", linewidth=0)
        for evaluation, colour, offset in rows:
            _box(axes, label + offset, _dice_of(evaluation, label), colour, filled=evaluation is candidate)
    for labels in REGIONS.values():
        axes.axvline(labels[-1] + 0.5, color="#999999", linewidth=0.6)
    axes.set_xlim(0.5, len(NAMES) + 0.5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(list(NAMES), list(NAMES.values()), size=8.5)
    axes.set_ylabel("Dice (GT-present)", size=9)
    key = "filled box: candidate    " + ("grey outline: model in use    " if champion else "")
    axes.set_title(key + "dot: whole vertebra    ring: cut by the border    hatched: no case", size=8.5, loc="left")
    return sheet.png()


def scatter_plot(*, candidate: Evaluation, champion: Evaluation) -> bytes:
    """Draw each scan's mean Dice under both models; triangles are scans that the candidate misnames."""
    sheet = Sheet(width=560, height=540)
    axes = _plain(sheet.axes(58, 30, 480, 440))
    old = {scan.case: scan.mean_dice for scan in champion.scans}
    pairs = [
        (scan, before, scan.mean_dice)
        for scan in candidate.scans
        if scan.mean_dice is not None and (before := old.get(scan.case)) is not None
    ]
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle="--")
    for wrong, marker, name in ((False, "o", "right level"), (True, "^", "wrong level or no prediction")):
        chosen = [(x, y) for scan, x, y in pairs if (scan.missing or scan.level_shift not in (0, None)) == wrong]
        if chosen:
            axes.scatter(
                [x for x, _ in chosen], [y for _, y in chosen], marker=marker, s=34, linewidth=0.9, edgecolor="black",
                facecolor="#e07b00" if wrong else _OURS, alpha=0.85, label=f"{name} ({len(chosen)})",
            )  # fmt: skip
    losses = [pair for pair in sorted(pairs, key=lambda pair: pair[2] - pair[1])[:_NAMED_LOSSES] if pair[2] < pair[1]]
    for place, (scan, x, y) in enumerate(sorted(losses, key=lambda pair: -pair[1])):
        # Below the diagonal there is room: names climb from the point, or descend where it is high.
        step = 0.05 + 0.045 * place
        axes.annotate(
            scan.case, (x, y), (min(x, 0.85), y + step if y < 0.5 else y - step), size=7.5, ha="center",
            parse_math=False, arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.7, "shrinkB": 4},
        )  # fmt: skip
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_xlabel("mean Dice of the scan, model in use", size=9)
    axes.set_ylabel("mean Dice of the scan, candidate", size=9)
    axes.set_title("above the line: candidate better", size=9, loc="left")
    if pairs:
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncols=2, fontsize=8.5, frameon=False)
    return sheet.png()


def difference_plot(rules: Sequence[Rule]) -> bytes:
    """Draw each paired difference with its interval; the marker says what the rule decided."""
    sheet = Sheet(width=660, height=540)
    axes = _plain(sheet.axes(120, 30, 522, 440))
    names = [rule.name.removesuffix(" against the model in use").removeprefix("Dice of ") for rule in rules]
    for row, rule in enumerate(rules):
        found = rule.difference
        if found is None or found.mean is None:
            continue
        marker, _ = _DECIDED[rule.passed]
        low, high = (found.mean, found.mean) if found.low is None or found.high is None else (found.low, found.high)
        axes.plot([low, high], [row, row], color="black", linewidth=2, solid_capstyle="butt")
        axes.plot([low, high], [row, row], color="black", marker="|", markersize=9, linestyle="none")
        face = {True: _OURS, False: "#c0271a", None: "white"}[rule.passed]
        axes.plot([found.mean], [row], marker=marker, markersize=11, color=face, markeredgecolor="black")
        text = f"n = {found.patients}, {_DECIDED[rule.passed][1]}"
        axes.annotate(text, (found.mean, row), (0, 11), textcoords="offset points", size=7.5, ha="center")
    axes.axvline(0, color="#777777", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(rules)), names, size=9)
    axes.set_ylim(len(rules) - 0.4, -0.7)
    axes.set_xlabel("← candidate worse    difference of Dice    candidate better →", size=9)
    axes.set_title("mean of the paired differences and its interval", size=9, loc="left")
    return sheet.png()


def _plain(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _dice_of(evaluation: Evaluation, label: int) -> list[LabelScore]:
    return [score for scan in evaluation.scans for score in _present(scan) if score.label == label]


def _present(scan: ScanScores) -> list[LabelScore]:
    return [score for score in scan.labels if score.dice is not None]


def _box(axes: Axes, x: float, scores: Sequence[LabelScore], colour: str, *, filled: bool) -> None:
    if not scores:
        return
    values = [score.dice or 0.0 for score in scores]
    style: dict[str, Any] = {"color": colour, "linewidth": 1.1}
    axes.boxplot(
        [values], positions=[x], widths=0.34, showfliers=False, patch_artist=True, manage_ticks=False,
        boxprops={"facecolor": "#a9c8e6" if filled else "white", "edgecolor": colour, "linewidth": 1.1},
        medianprops={"color": "black", "linewidth": 2}, whiskerprops=style, capprops=style,
    )  # fmt: skip
    # Spread by the golden ratio: points part from one another and lie alike on every run.
    jitter = (np.arange(len(scores)) * 0.618 % 1 - 0.5) * 0.24
    for cut in (False, True):
        chosen = [index for index, score in enumerate(scores) if score.at_border == cut]
        axes.scatter(
            [x + jitter[index] for index in chosen], [values[index] for index in chosen], s=11, zorder=3,
            facecolor="white" if cut else colour, edgecolor=colour, linewidth=0.9,
        )  # fmt: skip
