"""Charts of a data set: spacing, size, HU, and how often each vertebra is seen."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from components.prepare_dataset.assembly import Prepared
from components.prepare_dataset.conversion import HU_EDGES
from spine.dataset import Case
from spine.drawing.figures import Sheet
from spine.labels import NAMES, REGIONS

_TRAIN, _TEST, _CUT = "#0b4f8a", "#e07b00", "#a9c8e6"
_AXES = ("left-right", "back-front", "down-up")
_STYLES = (("#0b4f8a", "-"), ("#e07b00", "--"), ("#555d66", ":"))


def levels_chart(cases: Sequence[Case]) -> bytes:
    """Draw for every vertebra in how many training and test cases it is seen, whole or cut by the border."""
    sheet = Sheet(width=1240, height=330)
    axes = _plain(sheet.axes(58, 30, 1170, 262))
    for offset, split, colour in ((-0.2, "train", _TRAIN), (0.2, "test", _TEST)):
        members = [case for case in cases if case.split == split]
        seen = Counter(name for case in members for name in case.label_voxels)
        cut = Counter(name for case in members for name in case.border)
        at = [label + offset for label in NAMES]
        axes.bar(
            at, [seen[name] for name in NAMES.values()], width=0.38, color=colour, label=f"{split} ({len(members)})"
        )
        axes.bar(at, [cut[name] for name in NAMES.values()], width=0.38, color="white", edgecolor=colour, hatch="////",
                 linewidth=0.8, label="of these cut by the border" if split == "train" else None)  # fmt: skip
    for labels in REGIONS.values():
        axes.axvline(labels[-1] + 0.5, color="#999999", linewidth=0.6)
    axes.set_xlim(0.4, len(NAMES) + 0.6)
    axes.set_xticks(list(NAMES), list(NAMES.values()), size=8.5)
    axes.set_ylabel("cases", size=9)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=3, fontsize=8.5, frameon=False)
    return sheet.png()


def spacing_chart(cases: Sequence[Case]) -> bytes:
    """Draw the distribution of spacing along each axis."""
    return _by_axis([case.spacing_mm for case in cases], unit="spacing in mm")


def size_chart(cases: Sequence[Case]) -> bytes:
    """Draw the distribution of the field of view along each axis."""
    sizes = [np.multiply(case.shape, case.spacing_mm) for case in cases]
    return _by_axis([tuple(size) for size in sizes], unit="field of view in mm")


def hu_chart(prepared: Prepared) -> bytes:
    """Draw how voxels are spread over HU, all cases together: share of voxels a bin, on a root scale."""
    sheet = Sheet(width=392, height=270)
    axes = _plain(sheet.axes(64, 26, 318, 192))
    counts = np.sum(list(prepared.hu_counts.values()), axis=0) if prepared.hu_counts else np.zeros(len(HU_EDGES) - 1)
    share = counts / max(counts.sum(), 1)
    axes.stairs(np.sqrt(share), HU_EDGES, fill=True, color=_CUT, edgecolor=_TRAIN)
    ticks = [part for part in (0.01, 0.05, 0.1, 0.25, 0.5) if part <= max(share.max(), 0.01)]
    axes.set_yticks(np.sqrt(ticks), [f"{part:.0%}" for part in ticks])
    axes.set_xlabel("HU (bins of 32)", size=9)
    axes.set_ylabel("share of voxels", size=9)
    return sheet.png()


def _by_axis(rows: Sequence[Sequence[float]], *, unit: str) -> bytes:
    sheet = Sheet(width=392, height=270)
    axes = _plain(sheet.axes(64, 26, 318, 192))
    values = np.asarray(rows, dtype=float).reshape(-1, 3)
    if values.size:
        # Scans of one protocol differ in the last digit only: a bin is never thinner than a hundredth of the values.
        margin = max(float(np.ptp(values)) * 0.02, float(values.max()) * 0.05)
        edges = np.linspace(values.min() - margin, values.max() + margin, min(24, max(6, len(rows) // 3)) + 1)
        for axis, (name, (colour, line)) in enumerate(zip(_AXES, _STYLES, strict=True)):
            counts, _ = np.histogram(values[:, axis], bins=edges)
            axes.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.8, label=name)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=3, fontsize=8.5, frameon=False)
    axes.set_xlabel(unit, size=9)
    axes.set_ylabel("cases", size=9)
    return sheet.png()


def _plain(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="y", color="#d9d9d9", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes
