"""Wrong names in words: which vertebrae of a scan are called what."""

from collections.abc import Sequence

from spine.labels import NAMES
from spine.metrics.scores import ScanScores


def misnamed(scan: ScanScores) -> list[tuple[int, int]]:
    """Return (label, label it is called) of the reference vertebrae that were found as bone under another name."""
    return [(score.label, score.called) for score in scan.labels if score.called and score.called != score.label]


def misnamed_in_words(scan: ScanScores) -> str:
    """Say which vertebrae are called what, neighbours with one shift together: ``T5-T9 called T6-T10, L3 called L1``.

    Empty where all names are right, or where they are not known.
    """
    runs: list[list[tuple[int, int]]] = []
    for label, called in misnamed(scan):
        if runs and (label - 1, called - 1) == runs[-1][-1]:
            runs[-1].append((label, called))
        else:
            runs.append([(label, called)])
    return ", ".join(
        f"{_range([label for label, _ in run])} called {_range([called for _, called in run])}" for run in runs
    )


def _range(labels: Sequence[int]) -> str:
    first, last = NAMES[labels[0]], NAMES[labels[-1]]
    return first if first == last else f"{first}-{last}"
