"""nnU-Net's summary.json as evidence: its own numbers to the last digit, and a line for whatever it isn't."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from spine.errors import MalformedFileError, MissingPathError
from spine.metrics import nnunet_summary
from spine.metrics.folders import evaluate_folders
from spine.metrics.nnunet_summary import read_evaluation
from spine.storage import write_json
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
ANISOTROPIC = np.diag([0.8, 0.7, 2.5, 1.0])


def counts(tp=10, fp=2, fn=3):
    dice = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")
    return {"Dice": dice, "IoU": 0.5, "TP": tp, "FP": fp, "FN": fn, "TN": 900, "n_pred": tp + fp, "n_ref": tp + fn}


def case(name="a", **metrics):
    metrics = metrics or {"20": counts(), "21": counts(0, 0, 0)}
    return {"reference_file": f"/r/{name}.nii.gz", "prediction_file": f"/p/{name}.nii.gz", "metrics": metrics}


@pytest.fixture
def summary_file(tmp_path):
    """A function that writes the cases as nnU-Net would and returns the file."""

    def write(*cases, name="summary.json"):
        path = tmp_path / "my_model" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"foreground_mean": {}, "mean": {}, "metric_per_case": list(cases)}))
        return path

    return write


def test_the_means_of_a_real_summary_are_reproduced():
    path = SHARED / "reference_results" / "validation_summary.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the shared real data is no part of a fresh clone")
    told = json.loads(path.read_text())
    evaluation = read_evaluation(path)
    summary = evaluation.summary
    assert (evaluation.name, summary.scans, summary.scans_with_labels) == ("validation_summary", 175, 171)
    assert summary.dice_nnunet == pytest.approx(told["foreground_mean"]["Dice"], abs=1e-9)
    assert summary.dice_nnunet == pytest.approx(0.8837253867957031, abs=1e-9)
    assert summary.dice_scan_mean == pytest.approx(0.894770, abs=5e-7)
    assert summary.dice_label_macro == pytest.approx(0.905362, abs=5e-7)
    assert summary.id_rate is summary.all_correct_rate is summary.wrong_level_rate is None
    assert summary.bone_dice is summary.nsd_3mm is summary.hd95_mm is summary.misnamed_rate is None


def boxes(random, labels):
    array = np.zeros((20, 18, 16), dtype=np.uint8)
    for label in labels:
        low = random.integers(0, 10, 3)
        high = low + random.integers(3, 8, 3)
        array[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = label
    return array


@pytest.fixture(scope="module")
def same_files(tmp_path_factory):
    """References and predictions, anisotropic, and what nnU-Net's own evaluator writes for them."""
    evaluator = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    reader = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    root, random = tmp_path_factory.mktemp("same"), np.random.default_rng(11)
    held = [(1, 2, 3, 9), (2, 3), (), (3, 4, 5, 6, 12), (1,), (9, 10, 11)]  # an empty scan; labels absent from some
    for number, labels in enumerate(held):
        reference, noise = boxes(random, labels), boxes(random, (2, 3, 7))
        prediction = np.where(random.random(reference.shape) < 0.8, reference, noise).astype(np.uint8)
        prediction[noise == 3] = 13  # a label that no reference holds
        for kind, array in (("references", reference), ("predictions", prediction)):
            volume = Volume(array=array, grid=Grid.of(array.shape, ANISOTROPIC))
            write_volume(root / kind / f"case_{number:04d}.nii.gz", volume)
    folders = (str(root / "references"), str(root / "predictions"), str(root / "predictions" / "summary.json"))
    evaluator.compute_metrics_on_folder(*folders, reader, ".nii.gz", list(range(1, 26)), num_processes=1)
    return root


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # nnU-Net's, of labels that no scan holds
@pytest.mark.slow  # nnU-Net's own evaluation starts a process that imports torch
def test_every_count_and_mean_is_that_of_nnunets_own_evaluator_on_the_same_files(same_files):
    path = same_files / "predictions" / "summary.json"
    assert "NaN" in path.read_text()
    theirs, read = json.loads(path.read_text()), read_evaluation(path)
    ours = evaluate_folders(
        references=same_files / "references", predictions=same_files / "predictions", name="ours", surfaces=False
    )
    for evaluation in (ours, read):
        assert [scan.case for scan in evaluation.scans] == [f"case_{number:04d}" for number in range(6)]
        for case, scan in zip(theirs["metric_per_case"], evaluation.scans, strict=True):
            scored = {score.label: score for score in scan.labels}
            for label, told in case["metrics"].items():
                score = scored.get(int(label))
                found = (score.common_voxels, score.predicted_voxels, score.reference_voxels) if score else (0, 0, 0)
                assert found == (told["TP"], told["n_pred"], told["n_ref"])
                if score and score.dice is not None:
                    assert score.dice == pytest.approx(told["Dice"], abs=1e-9)
        means = [told["Dice"] for told in theirs["mean"].values()]
        assert np.isnan(means).any()
        assert evaluation.summary.dice_nnunet == pytest.approx(np.nanmean(means), abs=1e-9)
    same = ("dice_scan_mean", "dice_label_macro", "dice_nnunet", "missed_labels", "false_positive_labels")
    assert all(getattr(ours.summary, name) == getattr(read.summary, name) for name in same)
    assert read.summary.false_positive_labels > 0


def test_what_counts_do_not_tell_is_none(summary_file):
    scan = read_evaluation(summary_file(case())).scans[0]
    (score,) = scan.labels
    assert (score.label, score.reference_voxels, score.predicted_voxels, score.common_voxels) == (20, 13, 12, 10)
    assert score.at_border is score.identified is score.localisation_mm is score.called is score.nsd_3mm is None
    assert scan.patient is scan.bone_dice is scan.all_correct is scan.level_shift is None


def test_names_come_from_the_folder_the_file_or_whoever_asks(summary_file):
    assert read_evaluation(summary_file(case())).name == "my_model"
    assert read_evaluation(summary_file(case(), name="today.json")).name == "today"
    assert read_evaluation(summary_file(case()), name="champion").name == "champion"


def test_cases_are_named_by_either_kind_of_path_and_come_in_order(summary_file):
    windows = {**case(), "reference_file": "D:\\nnUNet\\labelsTs\\b.nii.gz"}
    without = {**case("a"), "reference_file": None}
    other = {**case(), "reference_file": "/r/c.nrrd"}
    scans = read_evaluation(summary_file(other, windows, without)).scans
    assert [scan.case for scan in scans] == ["a", "b", "c"]


def test_background_is_left_out(summary_file):
    scans = read_evaluation(summary_file(case(**{"0": counts(), "25": counts()}))).scans
    assert [score.label for score in scans[0].labels] == [25]


def test_an_evaluation_of_ours_is_read_as_it_was_written(summary_file, tmp_path):
    evaluation = read_evaluation(summary_file(case()))
    write_json(tmp_path / "ours.json", evaluation.model_dump(mode="json"))
    assert read_evaluation(tmp_path / "ours.json") == evaluation
    assert read_evaluation(tmp_path / "ours.json", name="other").name == "other"


def changed(key, value):
    return case(**{"20": {**counts(), key: value}})


def without(key):
    told = copy.deepcopy(case())
    del told["metrics"]["20"][key]
    return told


BAD_CASES = {
    "a fraction": (changed("TP", 10.5), r"0\.metrics\.20\.TP: found 10\.5; expected a whole number"),
    "not a number": (changed("FN", float("nan")), r"FN: found nan"),
    "infinite": (changed("FN", float("inf")), r"FN: found inf"),
    "negative": (changed("FP", -1), r"FP: found -1"),
    "text": (changed("FP", "12"), r"FP: found '12'"),
    "a truth value": (changed("FP", True), r"FP: found True"),
    "a count is missing": (without("FN"), r"FN: found None"),
    "no counts": (case(**{"20": 0.9}), r"metrics\.20\.TP: found None"),
    "a region": (case(**{"(1, 2)": counts()}), r"found '\(1, 2\)'; expected single labels"),
    "a region of one": (case(**{"(20,)": counts()}), r"found '\(20,\)'; expected single labels"),
    "a foreign label": (case(**{"26": counts()}), r"found '26'; expected labels 1-25"),
    "a label without end": (case(**{"9" * 5000: counts()}), r"found '999.*…; expected labels 1-25"),
    "a named label": (case(**{"L1": counts()}), r"found 'L1'; expected labels 1-25"),
    "no metrics": ({**case(), "metrics": None}, r"0\.metrics: found None"),
    "no case": ("a", r"per_case\.0: found 'a'"),
    "no name": ({**case(), "reference_file": None, "prediction_file": 3}, r"reference_file: found None"),
}


@pytest.mark.parametrize("kind", BAD_CASES)
def test_a_case_that_can_not_be_used_is_told_in_one_line(summary_file, kind):
    bad, message = BAD_CASES[kind]
    path = summary_file(bad)
    with pytest.raises(MalformedFileError, match=message) as caught:
        read_evaluation(path)
    assert str(caught.value).startswith(f"{path}: metric_per_case") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 250


def test_a_case_that_comes_twice_is_refused(summary_file):
    with pytest.raises(MalformedFileError, match=r"per_case\.1: found 'a'; expected one entry a case"):
        read_evaluation(summary_file(case(), case()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"metric_per_case": []}', r"metric_per_case: found \[\]; expected a list with at least one case"),
        ('{"metric_per_case": {"a": 1}}', r"expected a list with at least one case"),
        ("[1, 2]", "the whole file: is a list; expected an evaluation"),
        ('{"dataset_name": "x", "plans_name": "y"}', "the whole file: holds dataset_name, plans_name; expected an eva"),
        ("{}", "the whole file: holds nothing; expected an evaluation"),
        ('{"name": "x", "scans": 3}', r"scans: .*found 3"),
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 200_000, "nested too deeply|not JSON"),
    ],
)
def test_a_file_that_is_neither_is_told_in_one_line(tmp_path, text, message):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(MalformedFileError, match=message) as caught:
        read_evaluation(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_file_without_measure_is_not_read(summary_file, monkeypatch):
    path = summary_file(case())
    monkeypatch.setattr(nnunet_summary, "_LARGEST_BYTES", 50)
    with pytest.raises(MalformedFileError, match=r"GiB; expected .* at most 1 GiB"):
        read_evaluation(path)


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(MissingPathError, match=r"not found; expected an evaluation .* or a summary\.json"):
            read_evaluation(path)
