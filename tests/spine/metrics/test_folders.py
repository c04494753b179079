"""Whole folders: their scores in order, several processes, and every way that folders go wrong."""

import importlib
import multiprocessing
import sys

import numpy as np
import pytest

import spine.workers
from spine.errors import (
    GridMismatchError,
    InvalidValueError,
    LabelValueError,
    MissingPathError,
    UnreadableVolumeError,
)
from spine.metrics import headers
from spine.metrics.folders import WorkerEndedError, evaluate_folders
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


def test_scans_come_in_order_with_their_patients_and_are_reported(folders):
    told = []

    def on_case(*event):
        told.append(event)

    result = evaluate_folders(
        **folders, name="toy", patients={"case_0001": "p8", "case_0002": "p9", "case_0003": "p9"}, on_case=on_case
    )
    assert told == [("case_0001", 1, 2), ("case_0002", 2, 2)]
    assert [scan.case for scan in result.scans] == ["case_0001", "case_0002"]
    assert [scan.patient for scan in result.scans] == ["p8", "p9"]
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


@pytest.mark.parametrize(("patients", "lacking"), [({"scan_a": "p1"}, 2), ({"case_0002": "p1"}, 1)])
def test_where_patients_are_given_every_reference_has_one(folders, patients, lacking):
    told = rf"patient of case 'case_0001' is None; expected a patient for every reference \({lacking} have none\)"
    with pytest.raises(InvalidValueError, match=told):
        evaluate_folders(**folders, name="toy", patients=patients)


def test_references_without_a_prediction_may_be_left_out_but_then_none_is_known_to_be_missing(folders):
    (folders["predictions"] / "case_0001.nii.gz").unlink()
    (only,) = evaluate_folders(**folders, name="toy", only_predicted=True).scans
    assert (only.case, only.missing, only.mean_dice) == ("case_0002", None, 1.0)


def test_predictions_with_another_suffix_are_told_of_the_right_one(folders):
    for path in list(folders["predictions"].iterdir()):
        path.rename(path.with_name(path.name.replace(".nii.gz", ".mha")))
    with pytest.raises(InvalidValueError, match=r"'nothing that ends in .nii.gz or .nii'; expected files named"):
        evaluate_folders(**folders, name="toy")


def test_several_processes_give_what_one_does(folders, stack, on_grid):
    for number in range(3, 7):
        for kind in folders:
            labels = [10, 11, 12] if kind == "references" else [10, 11, 13]
            write_volume(folders[kind] / f"case_{number:04d}.nii.gz", on_grid(stack(labels)))
    told = []
    several = evaluate_folders(
        **folders, name="toy", workers=2, on_case=lambda case, done, _: told.append((case, done))
    )
    assert several == evaluate_folders(**folders, name="toy", workers=1)
    assert [scan.case for scan in several.scans] == sorted(case for case, _ in told)
    assert [done for _, done in told] == list(range(1, 7))


READERS = """
import os, signal
from pathlib import Path
from spine.volume.nifti import read_labels

def deadly(path):
    if path.name.startswith("case_0002"):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_labels(path)

def signing(path):
    Path(path.parents[1], f"{os.getpid()}.pid").touch()
    return read_labels(path)
"""


@pytest.fixture
def readers(tmp_path, monkeypatch):
    """A module with readers that worker processes can import."""
    (tmp_path / "odd_readers.py").write_text(READERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("odd_readers")
    del sys.modules["odd_readers"]


def test_a_killed_process_is_an_error_that_names_its_case(folders, readers, stack, on_grid):
    for kind in folders:
        write_volume(folders[kind] / "case_0003.nii.gz", on_grid(stack()))
    with pytest.raises(WorkerEndedError, match="^case_0002: the process that scored it was killed; expected enough"):
        evaluate_folders(**folders, name="toy", workers=2, read_reference=readers.deadly)
    assert not multiprocessing.active_children()


def test_no_more_processes_work_than_the_free_memory_holds(folders, readers, monkeypatch, tmp_path):
    head = headers.read_head(folders["references"] / "case_0001.nii.gz")
    monkeypatch.setattr(spine.workers, "free_memory", lambda: int(1.9 * headers.needed_bytes(head, head)))
    evaluate_folders(**folders, name="toy", workers=2, read_reference=readers.signing)
    assert len(list(tmp_path.glob("*.pid"))) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_whose_voxels_are_damaged_is_the_same_error_from_any_process(folders, workers):
    path = folders["predictions"] / "case_0002.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        UnreadableVolumeError, match=r"predictions/case_0002\.nii\.gz: can't be read.*; expected"
    ) as caught:
        evaluate_folders(**folders, name="toy", workers=workers)
    assert "\n" not in str(caught.value)


def test_what_headers_tell_is_refused_before_anything_is_scored(folders, stack, on_grid):
    told = []
    write_volume(folders["predictions"] / "case_0002.nii.gz", on_grid(stack([5]), np.diag([2.0, 1.5, 1.5, 1.0])))
    with pytest.raises(GridMismatchError, match=r"case_0002 \(reference\).*spacing \(1.5, 1.5, 1.5\) against \(2.0"):
        evaluate_folders(**folders, name="toy", on_case=lambda *event: told.append(event))
    (folders["predictions"] / "case_0002.nii.gz").write_bytes(b"\x1f\x8bno gzip")
    with pytest.raises(UnreadableVolumeError, match=r"case_0002\.nii\.gz: can't be read"):
        evaluate_folders(**folders, name="toy", on_case=lambda *event: told.append(event))
    assert told == []


def test_surfaces_are_left_out_where_they_are_not_wanted(folders):
    summary = evaluate_folders(**folders, name="toy", surfaces=False).summary
    assert summary.nsd_1_5mm is summary.hd95_mm is None
    assert summary.dice_scan_mean == 1.0
