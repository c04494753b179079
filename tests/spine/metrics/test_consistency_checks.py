"""Scores that can't all be true at once, each with the words that name the contradiction."""

import numpy as np
import pytest

from spine.metrics.consistency_checks import fault
from spine.metrics.scans import score_scan
from spine.metrics.scores import LabelScore, ScanScores
from spine.volume.grid import Grid
from spine.volume.nifti import Volume


def volume(*labels: int) -> Volume:
    """Boxes of 1000 voxels at 1.5 mm, one above the other."""
    array = np.zeros((16, 16, 80), dtype=np.uint8)
    for place, label in enumerate(labels):
        array[3:13, 3:13, 2 + 15 * place : 12 + 15 * place] = label
    return Volume(array=array, grid=Grid.of(array.shape, np.diag([1.5, 1.5, 1.5, 1.0])))


def scored(reference: Volume, prediction: Volume | None) -> ScanScores:
    return score_scan(case="a", patient=None, reference=reference, prediction=prediction)


SOUND = scored(volume(22, 21, 20), volume(22, 21, 20, 19))


def with_label(**changes: object) -> ScanScores:
    labels = (SOUND.labels[0], SOUND.labels[1].model_copy(update=changes), *SOUND.labels[2:])
    return SOUND.model_copy(update={"labels": labels})


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [((22, 21, 20), (22, 21, 20)), ((22, 21, 20), (23, 22, 21)), ((22, 21, 20), None), ((22, 21), ()), ((), (3, 4)),
     ((), ()), ((22, 21), (1, 2))],
)  # fmt: skip
def test_what_we_score_is_sound(reference: tuple[int, ...], prediction: tuple[int, ...] | None) -> None:
    assert fault(scored(volume(*reference), None if prediction is None else volume(*prediction))) is None


def test_what_only_counts_tell_is_sound() -> None:
    unknown = {"at_border": None, "identified": None, "localisation_mm": None, "called": None}
    labels = tuple(score.model_copy(update=unknown) for score in SOUND.labels)
    nothing = {"all_correct": None, "level_shift": None, "bone_dice": None, "false_positive_mm3": None, "missing": None}
    assert fault(SOUND.model_copy(update={"labels": labels, **nothing})) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mean_dice": 0.99}, "mean Dice is 0.99, but 1.0 by its labels"),
        ({"mean_dice": None}, "mean Dice is None"),
        ({"mean_dice": float("nan")}, "mean Dice is nan"),
        ({"all_correct": True}, "all levels right is True, but False by its vertebrae"),
        ({"all_correct": None}, "all levels right is None"),
        ({"false_positive_labels": 0}, "0 false-positive labels are told, 1 are there"),
        ({"missing": True}, "the prediction is missing, and has voxels"),
        ({"bone_dice": 1.1}, "bone Dice 1.1"),
        ({"false_positive_mm3": float("inf")}, "false-positive volume inf"),
        ({"level_shift": 4}, "level shift is 4"),
    ],
)
def test_a_scan_that_contradicts_its_labels_is_told(changes: dict[str, object], told: str) -> None:
    found = fault(SOUND.model_copy(update=changes))
    assert found is not None and told in found


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": 22}, "label 22 is there twice"),
        ({"label": 26}, "label 26: no label of ours; expected 1-25"),
        ({"label": 0}, "label 0: no label of ours"),
        ({"common_voxels": 1001}, "L1: 1001 voxels in common of 1000 and 1000"),
        ({"common_voxels": -1}, "L1: -1 voxels in common"),
        ({"predicted_voxels": 900, "common_voxels": 900}, "L1: Dice is 1.0, but 0.947"),
        ({"dice": 0.999}, "L1: Dice is 0.999, but 1.0"),
        ({"dice": None}, "L1: Dice is None, but 1.0"),
        ({"predicted_voxels": 0, "common_voxels": 0, "dice": 0.0}, "L1: identified, with 1000 voxels"),
        ({"nsd_3mm": 1.5}, "L1: surface scores"),
        ({"hd95_mm": float("nan")}, "L1: surface scores"),
        ({"localisation_mm": 21.0}, "L1: localisation error is 21.0 mm; expected 0-20"),
        ({"called": 26}, "L1: called 26"),
        ({"identified": None}, "whether vertebrae were identified is known of some only"),
    ],
)
def test_a_label_that_contradicts_itself_is_told(changes: dict[str, object], told: str) -> None:
    found = fault(with_label(**changes))
    assert found is not None and told in found


def test_a_lost_vertebra_in_a_scan_that_is_right_is_told() -> None:
    right = scored(volume(22, 21), volume(22, 21))
    lost: LabelScore = right.labels[0].model_copy(update={"identified": False})
    told = fault(right.model_copy(update={"labels": (lost, *right.labels[1:])}))
    assert told == "all levels right is True, but False by its vertebrae"
