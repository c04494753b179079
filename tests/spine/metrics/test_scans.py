"""Planted failures: each moves the scores that are there to see it, and no other."""

import numpy as np
import pytest

from spine.errors import GridMismatchError
from spine.metrics.scans import score_scan
from spine.metrics.summary import summarize


@pytest.fixture
def score(on_grid):
    def build(reference, prediction):
        predicted = None if prediction is None else on_grid(prediction)
        return score_scan(case="case_0001", patient="p1", reference=on_grid(reference), prediction=predicted)

    return build


def test_a_perfect_prediction_scores_one_everywhere(stack, score):
    scan = score(stack(), stack())
    assert (scan.case, scan.patient, scan.missing) == ("case_0001", "p1", False)
    assert (scan.mean_dice, scan.bone_dice, scan.all_correct, scan.level_shift) == (1.0, 1.0, True, 0)
    assert (scan.false_positive_labels, scan.false_positive_mm3) == (0, 0.0)
    assert [label.label for label in scan.labels] == [20, 21, 22, 23]
    assert all(label.identified and label.localisation_mm == 0.0 for label in scan.labels)
    assert all((label.called, label.covers) == (label.label, label.label) for label in scan.labels)
    assert all((label.nsd_1_5mm, label.nsd_3mm, label.hd95_mm) == (1.0, 1.0, 0.0) for label in scan.labels)


@pytest.mark.parametrize("shift", [1, -1])
def test_a_spine_named_one_level_off_keeps_its_bone_and_loses_its_names(stack, score, shift):
    scan = score(stack([16, 17, 18, 19]), stack([label + shift for label in (16, 17, 18, 19)]))
    assert (scan.level_shift, scan.bone_dice, scan.all_correct) == (shift, 1.0, False)
    assert scan.mean_dice == 0.0
    summary = summarize([scan])
    assert (summary.id_rate, summary.wrong_level_rate) == (0.0, 1.0)
    assert summary.wrong_level_cases == ("case_0001",)
    assert scan.false_positive_labels == 1


def test_a_renamed_vertebra_is_called_otherwise_and_its_own_surface_is_missed(stack, score):
    scan = score(stack([20, 21, 22]), stack([20, 21, 0]) + stack([0, 0, 19]))
    told = {label.label: (label.called, label.covers, label.nsd_3mm, label.hd95_mm) for label in scan.labels}
    assert told == {
        19: (None, 22, None, None),
        20: (20, 20, 1.0, 0.0),
        21: (21, 21, 1.0, 0.0),
        22: (19, None, 0.0, None),
    }


def test_without_surfaces_all_else_is_the_same(stack, on_grid):
    volumes = {"reference": on_grid(stack()), "prediction": on_grid(np.roll(stack(), 2, axis=1))}
    full = score_scan(case="c", patient=None, **volumes)
    quick = score_scan(case="c", patient=None, surfaces=False, **volumes)
    unknown = {"nsd_1_5mm": None, "nsd_3mm": None, "hd95_mm": None}
    assert all(0.0 < label.nsd_1_5mm < label.nsd_3mm == 1.0 for label in full.labels)
    assert quick.labels == tuple(label.model_copy(update=unknown) for label in full.labels)
    assert quick.model_copy(update={"labels": full.labels}) == full


def test_names_off_by_more_than_three_levels_are_a_wrong_level_without_a_shift(stack, score):
    scan = score(stack([16, 17, 18, 19]), stack([6, 7, 8, 9]))
    assert (scan.level_shift, scan.bone_dice) == (None, 1.0)
    assert summarize([scan]).wrong_level_cases == ("case_0001",)


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_prediction_scores_as_an_empty_one_and_is_named(stack, score, missing):
    scan = score(stack(), None if missing else np.zeros_like(stack()))
    assert scan.missing is missing
    assert (scan.mean_dice, scan.bone_dice, scan.all_correct, scan.level_shift) == (0.0, 0.0, False, None)
    assert [(label.dice, label.identified, label.localisation_mm) for label in scan.labels] == [(0.0, False, None)] * 4
    assert [(label.called, label.covers) for label in scan.labels] == [(0, None)] * 4
    assert [(label.nsd_1_5mm, label.nsd_3mm, label.hd95_mm) for label in scan.labels] == [(0.0, 0.0, None)] * 4


def test_an_empty_reference_has_no_mean_and_its_false_positives_are_counted(stack, score):
    scan = score(np.zeros_like(stack()), stack([20, 21]))
    assert (scan.mean_dice, scan.bone_dice, scan.all_correct, scan.level_shift) == (None, 0.0, None, None)
    assert (scan.false_positive_labels, scan.false_positive_mm3) == (2, pytest.approx(1600 * 1.5**3))
    assert [(label.dice, label.identified) for label in scan.labels] == [(None, None)] * 2
    assert [(label.called, label.covers) for label in scan.labels] == [(None, 0)] * 2
    assert [(label.nsd_1_5mm, label.nsd_3mm, label.hd95_mm) for label in scan.labels] == [(None, None, None)] * 2


def test_two_empty_maps_say_nothing(stack, score):
    scan = score(np.zeros_like(stack()), np.zeros_like(stack()))
    assert (scan.labels, scan.mean_dice, scan.bone_dice, scan.all_correct) == ((), None, None, None)


@pytest.mark.parametrize(("voxels", "correct"), [(500, True), (501, False)])
def test_a_hallucinated_vertebra_above_500_voxels_spoils_all_correct_only(stack, score, voxels, correct):
    reference, prediction = stack([20, 21]), stack([20, 21])
    prediction[0, :, :].flat[:voxels] = 9
    scan = score(reference, prediction)
    assert scan.all_correct is correct
    assert (scan.mean_dice, scan.level_shift, scan.false_positive_labels) == (1.0, 0, 1)
    assert scan.false_positive_mm3 == pytest.approx(voxels * 1.5**3)
    assert summarize([scan]).dice_nnunet == pytest.approx(2 / 3)


def test_one_swapped_vertebra_spoils_all_correct(stack, score):
    scan = score(stack([20, 21, 22]), stack([20, 22, 21]))
    assert scan.all_correct is False
    assert [label.identified for label in scan.labels] == [True, False, False]


def test_border_is_told_of_reference_vertebrae(stack, score):
    reference = stack([20, 21])[..., 30:]  # 21 fills 28-35: its lower two slices are cut off
    scan = score(reference, stack([20, 21, 22])[..., 30:])
    assert [(label.label, label.at_border) for label in scan.labels] == [(20, False), (21, True)]


def test_an_arrays_memory_order_does_not_matter(stack, score):
    prediction = np.roll(stack(), 2, axis=1)
    assert score(np.asfortranarray(stack()), prediction) == score(stack(), np.asfortranarray(prediction))


@pytest.mark.parametrize(
    ("change", "told"),
    [((0, 0, 0.01), "spacing"), ((0, 3, 5.0), "origin")],
)
def test_volumes_on_different_grids_are_refused(stack, on_grid, change, told):
    row, column, amount = change
    matrix = np.diag([1.5, 1.5, 1.5, 1.0])
    matrix[row, column] += amount
    with pytest.raises(GridMismatchError, match=told) as refused:
        score_scan(
            case="case_0007",
            patient=None,
            reference=on_grid(stack()),
            prediction=on_grid(stack(), matrix),
        )
    assert "case_0007" in str(refused.value)
