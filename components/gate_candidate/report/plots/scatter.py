"""Scan against scan: each scan's mean Dice under two models."""

from matplotlib.axes import Axes

from components.gate_candidate.report.entrants import Entrant
from components.gate_candidate.report.plots.axes import BLUE, DENSITY, ORANGE, TEXT, chart_name, plain, short_name
from spine.drawing.figures import Sheet
from spine.metrics.naming import misnamed
from spine.metrics.scores import ScanScores

_NAMED_LOSSES = 4
_LEAST_LOSS = 0.02
_LONGEST_NAME = 28
_LETTER = 0.0165  # width of a letter in a case's name, as a share of the axis
_KINDS = {
    "names right": ("o", 36, BLUE),
    "names not known": ("s", 32, "white"),
    "wrong name, or missing": ("^", 70, ORANGE),
}
Pair = tuple[ScanScores, float, float]


def scan_pairs(new: Entrant, old: Entrant) -> list[Pair]:
    """Return (scan of ``new``, mean Dice under ``old``, under ``new``) of the scans that both have scores for."""
    before = {scan.case: scan.mean_dice for scan in old.evaluation.scans}
    return [
        (scan, past, scan.mean_dice)
        for scan in new.evaluation.scans
        if scan.mean_dice is not None and (past := before.get(scan.case)) is not None
    ]


def scatter_plot(*, new: Entrant, old: Entrant) -> bytes:
    """Draw each scan's mean Dice under both models; triangles hold a wrong name of ``new``."""
    sheet = Sheet(width=610, height=610, density=DENSITY)
    axes = plain(sheet.axes(74, 34, 520, 464), grid="both")
    pairs = scan_pairs(new, old)
    axes.plot([0, 1], [0, 1], color="#555555", linewidth=1.2, linestyle="--")
    for name, (marker, size, colour) in _KINDS.items():
        chosen = [(x, y) for scan, x, y in pairs if kind(scan) == name]
        if chosen:
            axes.scatter(
                [x for x, _ in chosen], [y for _, y in chosen], marker=marker, s=size, linewidth=0.9,
                edgecolor="black", facecolor=colour, alpha=0.85, label=f"{name} ({len(chosen)})",
            )  # fmt: skip
    name_losses(axes, pairs)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_xlabel(f"mean Dice of the scan, {chart_name(old.name)}", size=TEXT)
    axes.set_ylabel(f"mean Dice of the scan, {chart_name(new.name)}", size=TEXT)
    axes.set_title(f"above the line: {chart_name(new.name)} is better", size=TEXT, loc="left")
    if pairs:
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.13), ncols=2, fontsize=TEXT, frameon=False)
    return sheet.png()


def name_losses(axes: Axes, pairs: list[Pair]) -> None:
    """Write the names of the scans that lost most in a column right of them, tied to their points."""
    losses = sorted((pair for pair in pairs if pair[1] - pair[2] > _LEAST_LOSS), key=lambda pair: pair[2] - pair[1])
    # In the order of the points' heights, so that no line crosses another.
    named = sorted(losses[:_NAMED_LOSSES], key=lambda pair: (pair[2], pair[0].case))
    floor = -0.05
    for scan, x, y in named:
        height = min(max(y - 0.06, floor + 0.055), 0.9)
        floor = height
        # Text left of the point: the corner below the diagonal is empty, the right edge is near.
        text = short_name(scan.case, most=_LONGEST_NAME)
        axes.annotate(
            text, (x, y), (max(min(x - 0.08, 0.72), _LETTER * len(text)), height), size=TEXT - 1, ha="right",
            va="center", parse_math=False, zorder=4,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            arrowprops={"arrowstyle": "-", "color": "#444444", "linewidth": 0.8, "shrinkB": 4},
        )  # fmt: skip


def kind(scan: ScanScores) -> str:
    """Return how a scan is marked: a shift is that of most bone, so single wrong names count too."""
    if scan.level_shift is None and scan.bone_dice is None and not scan.missing:
        return "names not known"
    # Without a shift nothing overlaps within three levels.
    right = scan.level_shift == 0 and not scan.missing and not misnamed(scan)
    return "names right" if right else "wrong name, or missing"
