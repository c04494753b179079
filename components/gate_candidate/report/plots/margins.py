"""Are sure names right? The share that is named right, by the margin of the name."""

from collections.abc import Sequence

from components.gate_candidate.report.flags import MarginBin
from components.gate_candidate.report.plots.axes import BLUE, DENSITY, TEXT, plain
from spine.drawing.figures import Sheet


def margin_plot(bins: Sequence[MarginBin]) -> bytes:
    """Draw the share named right a bin of margins, the least sure first, with its number of vertebrae."""
    sheet = Sheet(width=610, height=420, density=DENSITY)
    axes = plain(sheet.axes(74, 34, 520, 296))
    places, shares = range(len(bins)), [found.share_right for found in bins]
    axes.plot(places, shares, color=BLUE, linewidth=1.6, marker="o", markersize=9, markeredgecolor="black")
    for place, found in zip(places, bins, strict=True):
        axes.annotate(
            f"{found.share_right:.0%}", (place, found.share_right), (0, 10), textcoords="offset points",
            size=TEXT, ha="center", weight="bold",
        )  # fmt: skip
    lowest = min(shares)
    axes.set_ylim(max(0.0, lowest - 0.15) - 0.02, 1.0 + 0.14 * (1.0 - max(0.0, lowest - 0.15)))
    axes.set_xlim(-0.5, len(bins) - 0.5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if value <= 1 else "")
    names = [f"{found.low:.3g}–{found.high:.3g}\nn = {found.vertebrae}" for found in bins]
    axes.set_xticks(places, names, size=TEXT - 1)
    axes.set_xlabel("margin of the name (left: least sure), n: vertebrae", size=TEXT)
    axes.set_title("share of predicted vertebrae that are named right", size=TEXT, loc="left")
    return sheet.png()
