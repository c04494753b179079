"""Names of scores are a promise: a run of today lines up with one of last year."""

import numpy as np

from spine.labels import NAMES, REGIONS
from spine.metrics.names import named_scores
from spine.metrics.scans import score_scan
from spine.metrics.summary import summarize


def test_every_score_that_is_known_has_its_name(stack, on_grid):
    reference, prediction = stack([20, 21, 22]), stack([20, 21, 23])
    scores = named_scores(
        summarize([score_scan(case="a", patient=None, reference=on_grid(reference), prediction=on_grid(prediction))]),
        prefix="test",
    )
    assert scores["test/id_rate"] == 2 / 3
    assert scores["test/dice_scan_mean"] == scores["test/region/L1-L5.dice"] == 2 / 3
    assert scores["test/level/L3.dice"] == 0
    assert scores["test/false_positive_labels"] == 1
    assert scores["test/missing_predictions"] == 0
    assert all(isinstance(value, float) and np.isfinite(value) for value in scores.values())


def test_what_nobody_knows_has_no_name():
    scores = named_scores(summarize([]), prefix="test")
    assert set(scores.values()) == {0.0}
    assert not any(name.split("/")[-1].split(".")[0] in {*NAMES.values(), *REGIONS} for name in scores)
