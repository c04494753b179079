"""The level confusion matrix: what every reference vertebra was called."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.drawing.markup import Markup, percent, tag
from spine.labels import MAX_LABEL, NAMES, REGIONS
from spine.metrics.scores import Evaluation

NOT_FOUND: Final = MAX_LABEL
"""The matrix's last column: vertebrae on which no bone was found, whatever name the prediction holds elsewhere."""
_LAST_OF_REGION: Final = {labels[-1] for labels in REGIONS.values()}
_NAMED_CONFUSIONS = 5


def confusion_matrix(evaluation: Evaluation) -> NDArray[np.int64] | None:
    """Return counts of shape (25, 26): the row is the reference label - 1, the column what it was called - 1.

    Column 25 counts the vertebrae on which no bone was found. None where the evaluation doesn't know any names, as one
    made of voxel counts.
    """
    known = [
        (score.label, score.called)
        for scan in evaluation.scans
        for score in scan.labels
        if score.reference_voxels and score.called is not None
    ]
    if not known:
        return None
    counts = np.zeros((MAX_LABEL, MAX_LABEL + 1), dtype=np.int64)
    for label, called in known:
        counts[label - 1, called - 1 if called else NOT_FOUND] += 1
    return counts


def levels_summary(evaluation: Evaluation) -> Markup:
    """Say in a paragraph how many vertebrae were named right, a level off, further off, and missed."""
    counts = confusion_matrix(evaluation)
    if counts is None:
        return tag(
            "p",
            tag("strong", "Names are unknown: "),
            "this evaluation has voxel counts only, not what each vertebra was called.",
            class_="unseen",
        )
    labels = np.arange(MAX_LABEL)
    distance = np.abs(labels[:, None] - labels[None])
    named, lost, total = counts[:, :NOT_FOUND], int(counts[:, NOT_FOUND].sum()), int(counts.sum())
    right = int(np.trace(named))
    parts = [
        f"Of {total} reference vertebrae {right} ({percent(right / total)}) were called by their right name, ",
        f"{int(named[distance == 1].sum())} by a neighbour's, {int(named[distance > 1].sum())} by one further off, ",
        f"and on {lost} hardly any bone was found.",
    ]
    most = _commonest(named)
    return tag("p", *parts, f" Most often confused: {most}." if most else "")


def levels_table(evaluation: Evaluation, *, name: str) -> Markup:
    """Return the matrix as a table that needs no colour: right names pale, wrong ones white on black."""
    counts = confusion_matrix(evaluation)
    if counts is None:
        return Markup("")
    names = list(NAMES.values())
    heads = [tag("th", text, scope="col", class_=_edge(place + 1)) for place, text in enumerate(names)]
    lost = tag("th", "no bone found", scope="col", class_="lost")
    corner = tag("th", "is ↓ called →", scope="col", class_="corner")
    body = [tag("tr", _row_head(row + 1), *_cells(row, counts[row]), class_=_edge(row + 1)) for row in range(MAX_LABEL)]
    whole = tag(
        "table",
        tag("caption", f"What vertebrae are called, {name}: a row a reference vertebra, a column a name given"),
        tag("thead", tag("tr", corner, *heads, lost)),
        tag("tbody", *body),
        class_="matrix",
    )
    return tag("div", whole, class_="table")


def _row_head(label: int) -> Markup:
    return tag("th", NAMES[label], scope="row")


def _cells(row: int, counts: NDArray[np.int64]) -> list[Markup]:
    cells = []
    for column, found in enumerate(counts):
        kind = "same" if column == row else "lost" if column == NOT_FOUND else "other"
        classes = f"{kind if found or column == row else 'none'} {_edge(column + 1)}".strip()
        cells.append(tag("td", str(found) if found else "", class_=classes))
    return cells


def _edge(label: int) -> str:
    return "edge" if label in _LAST_OF_REGION else ""


def _commonest(named: NDArray[np.int64]) -> str:
    """Name the commonest confusions, the commoner first, then from superior to inferior."""
    wrong = [
        (int(named[row, column]), row, column) for row, column in zip(*np.nonzero(named), strict=True) if row != column
    ]
    wrong.sort(key=lambda found: (-found[0], found[1], found[2]))
    return ", ".join(
        f"{NAMES[int(row) + 1]} called {NAMES[int(column) + 1]} ({found})"
        for found, row, column in wrong[:_NAMED_CONFUSIONS]
    )
