"""Whole folders: nnU-Net's own numbers on the same files, and every way that folders go wrong."""

import math

import numpy as np
import pytest

from spine.errors import (
    GridMismatchError,
    InvalidValueError,
    LabelValueError,
    MissingPathError,
    UnreadableVolumeError,
)
from spine.metrics.folders import evaluate_folders
from spine.metrics.scores import Evaluation
from spine.storage import read_json, write_json
from spine.volume.nifti import write_volume


@pytest.fixture
def folders(tmp_path, stack, on_grid):
    """Two scans with perfect predictions: {"references": folder, "predictions": folder}."""
    for kind in ("references", "predictions"):
        write_volume(tmp_path / kind / "case_0001.nii.gz", on_grid(stack([20, 21])))
        write_volume(tmp_path / kind / "case_0002.nii.gz", on_grid(stack([5, 6, 7])))
    return {"references": tmp_path / "references", "predictions": tmp_path / "predictions"}


def blobs(random):
    array = np.zeros((20, 18, 16), dtype=np.uint8)
    for label in random.choice(np.arange(1, 13), size=random.integers(0, 5), replace=False):
        low = random.integers(0, 10, 3)
        high = low + random.integers(3, 8, 3)
        array[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = label
    return array


def test_dice_nnunet_is_what_nnunet_computes_on_the_same_files(tmp_path, on_grid):
    evaluation = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    reader = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    random = np.random.default_rng(11)
    held = set()
    for number in range(6):
        reference, noise = blobs(random), blobs(random)
        prediction = np.where(random.random(reference.shape) < 0.8, reference, noise).astype(np.uint8)
        prediction[noise == 3] = 13  # a label that no reference holds
        for kind, array in (("references", reference), ("predictions", prediction)):
            write_volume(tmp_path / kind / f"case_{number:04d}.nii.gz", on_grid(array))
            held |= set(np.unique(array).tolist()) - {0}
    assert 13 in held and len(held) < 25
    theirs = evaluation.compute_metrics_on_folder(
        str(tmp_path / "references"),
        str(tmp_path / "predictions"),
        None,
        reader,
        ".nii.gz",
        sorted(held),
        num_processes=1,
    )
    ours = evaluate_folders(references=tmp_path / "references", predictions=tmp_path / "predictions", name="blobs")
    assert 0.1 < theirs["foreground_mean"]["Dice"] < 0.9
    assert ours.summary.dice_nnunet == pytest.approx(theirs["foreground_mean"]["Dice"], abs=1e-9)
    for case, scan in zip(theirs["metric_per_case"], ours.scans, strict=True):
        counts = {label: told for label, told in case["metrics"].items() if not math.isnan(told["Dice"] or 0)}
        assert [score.label for score in scan.labels] == sorted(counts)
        for score in scan.labels:
            told = counts[score.label]
            assert (score.common_voxels, score.predicted_voxels, score.reference_voxels) == (
                told["TP"],
                told["n_pred"],
                told["n_ref"],
            )


def test_scans_come_in_order_with_their_patients_and_are_reported(folders):
    told = []
    result = evaluate_folders(**folders, name="toy", patients={"case_0002": "p9"}, on_case=told.append)
    assert told == [scan.case for scan in result.scans] == ["case_0001", "case_0002"]
    assert [scan.patient for scan in result.scans] == [None, "p9"]
    assert (result.name, result.summary.dice_scan_mean) == ("toy", 1.0)


def test_an_evaluation_survives_strict_json(folders, tmp_path):
    result = evaluate_folders(**folders, name="toy")
    write_json(tmp_path / "evaluation.json", result.model_dump(mode="json"))
    assert Evaluation.model_validate(read_json(tmp_path / "evaluation.json", expected="an evaluation")) == result


def test_suffixes_may_differ_and_extra_or_hidden_predictions_are_ignored(folders, stack, on_grid):
    predictions = folders["predictions"]
    (predictions / "case_0001.nii.gz").unlink()
    write_volume(predictions / "case_0001.nii", on_grid(stack([20, 21])))
    write_volume(predictions / "case_0009.nii.gz", on_grid(stack([1])))
    (predictions / ".partial-x-case_0002.nii.gz").write_bytes(b"half")
    assert evaluate_folders(**folders, name="toy").summary.dice_scan_mean == 1.0


def test_a_missing_prediction_scores_zero_and_is_named(folders):
    (folders["predictions"] / "case_0002.nii.gz").unlink()
    summary = evaluate_folders(**folders, name="toy").summary
    assert (summary.scans, summary.missing_predictions) == (2, ("case_0002",))
    assert (summary.dice_scan_mean, summary.all_correct_rate) == (0.5, 0.5)
    assert summary.id_rate == pytest.approx(2 / 5)


def test_an_unreadable_prediction_is_named(folders):
    path = folders["predictions"] / "case_0002.nii.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableVolumeError, match=r"predictions/case_0002\.nii\.gz"):
        evaluate_folders(**folders, name="toy")


def test_a_foreign_label_and_another_grid_are_refused_by_name(folders, stack, on_grid):
    path = folders["predictions"] / "case_0002.nii.gz"
    write_volume(path, on_grid(stack([26])))
    with pytest.raises(LabelValueError, match=r"case_0002.*26"):
        evaluate_folders(**folders, name="toy")
    write_volume(path, on_grid(stack([5]), np.diag([2.0, 1.5, 1.5, 1.0])))
    with pytest.raises(GridMismatchError, match=r"case_0002.*spacing"):
        evaluate_folders(**folders, name="toy")


@pytest.mark.parametrize("kind", ["references", "predictions"])
def test_two_files_for_one_case_are_refused(folders, stack, on_grid, kind):
    write_volume(folders[kind] / "case_0001.nii", on_grid(stack()))
    with pytest.raises(InvalidValueError, match=r"case_0001.*one file per case"):
        evaluate_folders(**folders, name="toy")


@pytest.mark.parametrize("kind", ["references", "predictions"])
def test_a_folder_that_is_not_there_is_named(folders, tmp_path, kind):
    with pytest.raises(MissingPathError, match="elsewhere"):
        evaluate_folders(**{**folders, kind: tmp_path / "elsewhere"}, name="toy")


def test_a_folder_without_references_is_refused(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingPathError, match="at least one reference"):
        evaluate_folders(references=tmp_path / "empty", predictions=folders["predictions"], name="toy")


@pytest.mark.parametrize("first", ["scan_a", "nothing"])
def test_a_wrong_predictions_folder_is_told_by_the_first_names(folders, tmp_path, stack, on_grid, first):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    if first != "nothing":
        write_volume(wrong / f"{first}.nii.gz", on_grid(stack()))
    with pytest.raises(InvalidValueError, match=rf"{first}.*case_0001"):
        evaluate_folders(references=folders["references"], predictions=wrong, name="toy")
