"""Are the flags worth looking at? Vertebrae of the prediction, each with its name, against their margins and flags."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from spine.drawing.markup import NOTHING, Column, Markup, count, number, percent, table, tag
from spine.metrics.scores import Evaluation, FoundVertebra
from spine.postprocessing.flags import CUT

_BINS: Final = 5
_LEAST_IN_BIN: Final = 15
_DOUBT: Final = f"any flag but “{CUT}” alone"
_NO_DOUBT: Final = f"no flag, or “{CUT}” alone"


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

    Only scans count in which vertebrae were looked for.
    """
    found = _found(evaluation)
    if not found:
        return []
    margins, right = np.array([each.margin for each in found]), np.array([_is_right(each) for each in found])
    wanted = int(np.clip(len(found) // _LEAST_IN_BIN, 1, _BINS))
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
    """Count every flag that was raised, then vertebrae whose flags cast doubt on them and those without such a flag.

    That a vertebra is cut at the border is no doubt: it is true of the ends of nearly every scan.
    """
    found = _found(evaluation)
    names = sorted({flag for each in found for flag in each.flags})
    groups = [(name, [each for each in found if name in each.flags]) for name in names]
    groups.append((_DOUBT, [each for each in found if _is_doubted(each)]))
    groups.append((_NO_DOUBT, [each for each in found if not _is_doubted(each)]))
    return [FlagCount(name, len(some), sum(not _is_right(each) for each in some)) for name, some in groups]


def has_decoding(evaluation: Evaluation) -> bool:
    """Say whether vertebrae were looked for in any scan."""
    return any(scan.vertebrae for scan in evaluation.scans)


def catch_sentence(evaluation: Evaluation) -> Markup:
    """Say how many vertebrae are named wrong, and how many of these bore a flag that casts doubt on them."""
    found = _found(evaluation)
    wrong = [each for each in found if not _is_right(each)]
    if not wrong:
        return tag("p", f"None of the {len(found)} vertebrae of the prediction is named wrong.")
    caught, nowhere = sum(map(_is_doubted, wrong)), sum(not each.covers for each in wrong)
    return tag(
        "p",
        f"{len(wrong)} of the {len(found)} vertebrae of the prediction are named wrong, {nowhere} of them because they "
        "lie on no vertebra of the reference. ",
        tag("strong", f"{caught} of these {len(wrong)} ({percent(caught / len(wrong))}) bore a flag"),
        f" other than “{CUT}”, which says nothing about a name.",
    )


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
    return table("Flags on vertebrae of the prediction; one can bear several", columns, rows)


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


def _found(evaluation: Evaluation) -> list[FoundVertebra]:
    return [each for scan in evaluation.scans for each in scan.vertebrae]


def _is_right(found: FoundVertebra) -> bool:
    return found.covers == found.label


def _is_doubted(found: FoundVertebra) -> bool:
    return any(flag != CUT for flag in found.flags)
