"""The level confusion matrix: every reference vertebra is counted once, under what it was called."""

import re
from collections.abc import Callable

import numpy as np

from components.gate_candidate.report.levels import NOT_FOUND, confusion_matrix, levels_summary, levels_table
from spine.metrics.scores import Evaluation, LabelScore, ScanScores
from spine.metrics.summary import summarize

L1, L2, L3 = 20, 21, 22


def _evaluation(called: dict[int, int], *, times: int = 1) -> Evaluation:
    labels = tuple(
        LabelScore(
            label=label, reference_voxels=100, predicted_voxels=100, common_voxels=0, dice=0.0, at_border=False,
            identified=False, localisation_mm=None, called=name,
        )
        for label, name in called.items()
    )  # fmt: skip
    scans = tuple(
        ScanScores(
            case=f"c{number}", patient=None, labels=labels, mean_dice=0.0, bone_dice=0.9, all_correct=False,
            level_shift=0, false_positive_labels=0, false_positive_mm3=0.0, missing=False,
        )
        for number in range(times)
    )  # fmt: skip
    return Evaluation(name="x", scans=scans, summary=summarize(scans))


def test_rows_are_the_reference_and_columns_what_it_was_called() -> None:
    counts = confusion_matrix(_evaluation({L1: L1, L2: L3, L3: 0}, times=4))
    assert counts is not None and counts.shape == (25, 26)
    assert (counts[L1 - 1, L1 - 1], counts[L2 - 1, L3 - 1], counts[L3 - 1, NOT_FOUND]) == (4, 4, 4)
    assert counts.sum() == 12


def test_wrong_names_and_vertebrae_not_found_are_marked_and_right_ones_are_not() -> None:
    html = levels_table(_evaluation({L1: L1, L2: L3, L3: 0}, times=7), name="x").html
    cells = re.findall(r'<td class="(\w+)[^"]*">7</td>', html)
    assert cells == ["same", "other", "lost"]
    assert len(re.findall(r"<td", html)) == 25 * 26


def test_the_sentence_tells_neighbours_from_names_further_off() -> None:
    text = levels_summary(_evaluation({L1: L1, L2: L3, L3: 8, 23: 0})).html
    assert "Of 4 reference vertebrae 1 (25.0 %) were called by their right name, 1 by a neighbour" in text
    assert "1 by one further off, and on 1 hardly any bone was found" in text
    assert "L2 called L3 (1)" in text and "L3 called T1 (1)" in text


def test_all_vertebrae_of_a_realistic_evaluation_are_counted(realistic: Callable[..., tuple[Evaluation, ...]]) -> None:
    candidate, _ = realistic()
    counts = confusion_matrix(candidate)
    assert counts is not None
    assert counts.sum() == sum(label.vertebrae for label in candidate.summary.labels)
    assert 0 < counts[:, :NOT_FOUND].sum() - np.trace(counts[:, :NOT_FOUND]) < counts.sum() / 10


def test_an_evaluation_that_knows_no_names_says_so(
    realistic: Callable[..., tuple[Evaluation, ...]], counted: Callable[[Evaluation], Evaluation]
) -> None:
    unknown = counted(realistic(scans=5)[0])
    assert confusion_matrix(unknown) is None
    assert "Names are unknown" in levels_summary(unknown).html
    assert levels_table(unknown, name="x").html == ""
