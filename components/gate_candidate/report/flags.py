"""Are the flags worth looking at? Names of predicted vertebrae against their margins and flags."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from spine.drawing.markup import NOTHING, Column, Markup, count, number, percent, table, tag
from spine.metrics.scores import Evaluation, LabelScore

_BINS: Final = 5
_LEAST_IN_BIN: Final = 15


@dataclass(frozen=True)
class MarginBin:
    """Predicted vertebrae of like margin, and how many of them bear the name of the bone that they cover."""

    low: float
    high: float
    vertebrae: int
    right: int

    @property
    def share_right(self) -> float:
        """The share that is named right, 0-1."""
        return self.right / self.vertebrae


@dataclass(frozen=True)
class FlagCount:
    """How often a flag was raised, and how often rightly."""

    name: str
    flagged: int
    wrong: int


def margin_bins(evaluation: Evaluation) -> list[MarginBin]:
    """Return up to five bins of about as many vertebrae each, the smallest margins first; equal margins stay together.

    Only vertebrae with a margin count, of which it is known what they cover.
    """
    known = [(score.margin, _is_right(score)) for score in _predicted(evaluation) if score.margin is not None]
    if not known:
        return []
    margins, right = np.array([margin for margin, _ in known]), np.array([is_right for _, is_right in known])
    wanted = int(np.clip(len(known) // _LEAST_IN_BIN, 1, _BINS))
    edges = np.unique(np.quantile(margins, np.arange(1, wanted) / wanted))
    places = np.searchsorted(edges, margins, side="right")
    return [
        MarginBin(
            low=float(margins[places == place].min()), high=float(margins[places == place].max()),
            vertebrae=int((places == place).sum()), right=int(right[places == place].sum()),
        )
        for place in np.unique(places)
    ]  # fmt: skip


def flag_counts(evaluation: Evaluation) -> list[FlagCount]:
    """Count every flag that was raised, then vertebrae with any flag and with none."""
    scores = list(_predicted(evaluation))
    names = sorted({flag for score in scores for flag in score.flags})
    groups = [(name, [score for score in scores if name in score.flags]) for name in names]
    groups.append(("any flag", [score for score in scores if score.flags]))
    groups.append(("no flag", [score for score in scores if not score.flags]))
    return [FlagCount(name, len(found), sum(not _is_right(score) for score in found)) for name, found in groups]


def has_decoding(evaluation: Evaluation) -> bool:
    """Say whether any predicted vertebra has a margin or a flag."""
    return any(score.margin is not None or score.flags for scan in evaluation.scans for score in scan.labels)


def flags_table(evaluation: Evaluation) -> Markup:
    """Return a row a flag: how many were flagged, how many of those wrong, and its share of all wrong names."""
    counts = flag_counts(evaluation)
    wrong = counts[-1].wrong + counts[-2].wrong
    rows = [
        (
            found.name,
            count(found.flagged),
            count(found.wrong),
            percent(found.wrong / found.flagged if found.flagged else None),
            f"{found.wrong} of {wrong}" if wrong else NOTHING,
            percent(found.wrong / wrong if wrong else None),
        )
        for found in counts
    ]
    columns = [
        Column("Flag", "row"), Column("Vertebrae"), Column("Named wrong"), Column("Share wrong"),
        Column("Of all wrong names"), Column("Share caught"),
    ]  # fmt: skip
    return table("Flags on predicted vertebrae; one vertebra can bear several", columns, rows)


def margins_table(bins: list[MarginBin]) -> Markup:
    """Return the bins of margins as a table."""
    rows = [
        (
            f"{number(found.low, digits=2)} to {number(found.high, digits=2)}",
            count(found.vertebrae),
            count(found.vertebrae - found.right),
            percent(found.share_right),
        )
        for found in bins
    ]
    columns = [Column("Margin", "row"), Column("Vertebrae"), Column("Named wrong"), Column("Named right")]
    return table("Margins, the least sure names first", columns, rows)


def nothing_decoded() -> Markup:
    """Say that there is nothing to calibrate."""
    return tag(
        "p",
        tag("strong", "Nothing was decoded: "),
        "the names are the network's own, without margins and flags, so there is nothing to check them by.",
        class_="unseen",
    )


def _predicted(evaluation: Evaluation) -> Iterator[LabelScore]:
    for scan in evaluation.scans:
        yield from (score for score in scan.labels if score.predicted_voxels and score.covers is not None)


def _is_right(score: LabelScore) -> bool:
    return score.covers == score.label
