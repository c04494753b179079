"""Wrong names in words."""

import pytest

from spine.metrics.naming import misnamed, misnamed_in_words
from spine.metrics.scans import score_scan


@pytest.mark.parametrize(
    ("reference", "prediction", "words"),
    [
        ([20, 21, 22, 23], [20, 21, 22, 23], ""),
        ([20, 21, 22, 23], [21, 22, 23, 24], "L1-L4 called L2-L5"),
        ([20, 21, 22, 23], [19, 20, 22, 23], "L1-L2 called T12-L1"),
        ([12, 13, 14, 15], [13, 14, 14, 17], "T5-T6 called T6-T7, T8 called T10"),
        ([20, 21, 22, 23], [23, 22, 21, 20], "L1 called L4, L2 called L3, L3 called L2, L4 called L1"),
        ([20, 21, 22, 23], [20, 0, 0, 23], ""),
        ([18, 20], [19, 21], "T11 called T12, L1 called L2"),
    ],
)
def test_neighbours_with_one_shift_are_told_together(stack, on_grid, reference, prediction, words):
    scan = score_scan(
        case="a", patient=None, reference=on_grid(stack(reference)), prediction=on_grid(stack(prediction))
    )
    assert misnamed_in_words(scan) == words
    assert bool(misnamed(scan)) is bool(words)


def test_a_missing_prediction_names_nothing(stack, on_grid):
    scan = score_scan(case="a", patient=None, reference=on_grid(stack()), prediction=None)
    assert misnamed(scan) == [] and misnamed_in_words(scan) == ""
