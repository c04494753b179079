"""Models side by side: tables, the page, strict JSON, and one line where something can't be compared."""

import json
import tempfile

import pytest

from spine.metrics.scores import Evaluation, LabelScore, ScanScores
from spine.metrics.summary import summarize
from spine.storage import write_json

LUMBAR = range(20, 25)


def scan(case, dice, *, shift=0):
    labels = tuple(
        LabelScore(
            label=label, reference_voxels=1000, predicted_voxels=1000, common_voxels=round(1000 * dice), dice=dice,
            at_border=label == 20, identified=dice > 0.5, localisation_mm=1.0 if dice > 0.5 else None,
            called=label + shift, covers=label - shift, nsd_3mm=dice, hd95_mm=3.0,
        )
        for label in LUMBAR
    )  # fmt: skip
    return ScanScores(
        case=case, patient=f"p-{case}", labels=labels, mean_dice=dice, bone_dice=0.9, all_correct=dice > 0.5,
        level_shift=shift, false_positive_labels=0, false_positive_mm3=0.0, missing=False,
    )  # fmt: skip


def write(path, dices, *, prefix="case"):
    scans = tuple(scan(f"{prefix}_{number}", dice) for number, dice in enumerate(dices))
    evaluation = Evaluation(name=path.stem, scans=scans, summary=summarize(scans))
    write_json(path, evaluation.model_dump(mode="json"))
    return path


@pytest.fixture
def old(tmp_path):
    return write(tmp_path / "old.json", [0.80, 0.82, 0.84, 0.86, 0.88, 0.90])


@pytest.fixture
def new(tmp_path):
    return write(tmp_path / "new.json", [0.85, 0.86, 0.90, 0.91, 0.92, 0.93])


@pytest.fixture
def nnunet(tmp_path):
    """A summary.json as nnU-Net writes it, of the same cases, a bare NaN in it."""
    counts = {"TP": 800, "FP": 200, "FN": 200, "TN": 800, "n_pred": 1000, "n_ref": 1000, "Dice": 0.8, "IoU": 0.667}
    absent = {**counts, "TP": 0, "FP": 0, "FN": 0, "n_pred": 0, "n_ref": 0, "Dice": float("nan")}
    cases = [
        {
            "metrics": {str(label): counts if label in LUMBAR else absent for label in range(1, 26)},
            "prediction_file": f"/p/case_{number}.nii.gz",
            "reference_file": f"/r/case_{number}.nii.gz",
        }
        for number in range(6)
    ]
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"metric_per_case": cases, "mean": {}, "foreground_mean": {}}))
    return path


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def row(told, name):
    (line,) = (line for line in told.out.splitlines() if line.startswith("│ ") and line.split("│")[1].strip() == name)
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_scores_stand_side_by_side_and_differences_have_intervals(spineline, old, new):
    told = spineline("compare", old, new)
    assert told.code == 0 and told.err == ""
    assert row(told, "Dice, GT-present, scan mean") == ["Dice, GT-present, scan mean", "0.85", "0.895"]
    assert row(told, "L1-L5: NSD at 3 mm")[1:] == ["0.85", "0.895"]
    dice = next(line for line in told.out.splitlines() if "new minus old" in line and "│ Dice " in line)
    assert " 6 " in dice and "0.045" in dice and " to +0.0" in dice
    assert "new minus old: +0.0450 Dice (+0.03" in told.out and "smallest detectable: 0.0" in told.out


def test_json_is_strict_and_complete(spineline, old, new, nnunet):
    told = spineline("compare", old, new, nnunet, "--json")
    found = strict(told.out)
    assert [model["name"] for model in found["models"]] == ["old", "new", "summary"]
    assert found["models"][2]["summary"]["id_rate"] is None
    first, second = found["differences"]
    assert (first["name"], first["minus"]) == ("new", "old")
    assert first["scores"]["Dice"]["mean"] == pytest.approx(0.045)
    assert first["scores"]["Dice"]["low"] < 0.045 < first["scores"]["Dice"]["high"]
    assert second["scores"]["Dice"]["mean"] == pytest.approx(-0.05) and "ID rate" not in second["scores"]


def test_models_that_saw_other_scans_are_shown_without_a_difference(spineline, old, tmp_path):
    other = write(tmp_path / "other.json", [0.9, 0.9], prefix="elsewhere")
    told = spineline("compare", old, other)
    assert told.code == 0 and "paired differences" not in told.out
    assert "other and old were not evaluated on the same scans (0 in both, 2 only in other, 6 only in old)" in told.out
    assert strict(spineline("compare", old, other, "--json").out)["differences"][0]["scores"] == {}


def test_files_of_one_name_are_told_apart_by_their_folders(spineline, tmp_path):
    files = [write(tmp_path / name / "test.json", [0.8, 0.9]) for name in ("a", "b")]
    told = spineline("compare", *files, "--json")
    assert [model["name"] for model in strict(told.out)["models"]] == ["a/test", "b/test"]


@pytest.mark.slow
def test_the_page_is_written_and_stands_alone(spineline, old, new, nnunet, tmp_path):
    told = spineline("compare", old, new, nnunet, "--html", tmp_path / "page.html")
    assert told.code == 0 and f"page: {tmp_path / 'page.html'}" in told.out
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Comparison of old, new and summary" in html and "+0.045" in html
    assert "<script" not in html and "http" not in html
    first = (tmp_path / "page.html").read_bytes()
    spineline("compare", old, new, nnunet, "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == first


BAD = {
    "old.json": ["what to compare is 'old.json'", "2 to 6 different ones"],
    "old.json old.json": ["what to compare is 'old.json old.json'", "different"],
    "old.json ./old.json": ["different"],
    "3 03": ["what to compare is '3 03'", "different"],
    "1 2": ["unknown version '1'", "none yet"],
    "old.json 7": ["unknown version '7'"],
    "old.json nowhere": ["nowhere: not found", "number of a version"],
    "1 nowhere": ["nowhere: not found", "number of a version"],
    "old.json noise.txt": ["noise.txt: not JSON"],
    "old.json other.json": ["other.json"],
    "old.json folder": ["folder"],
    "old.json new.json --html nowhere/page.html": ["nowhere: not found", "a folder for the page"],
    "old.json new.json --html folder": ["--html is 'folder'", "not a folder"],
    "old.json new.json --html new.json": ["--html is 'new.json'", "ends in .html or .htm"],
    "old.json new.json --html page.txt": ["--html is 'page.txt'", "ends in .html or .htm"],
    "old.json page.html --html page.html": ["--html is 'page.html'", "another file than those that are compared"],
    "old.json new.json --html noise.txt/page.html": ["noise.txt: not found", "a folder for the page"],
    "² 1": ["²: not found", "the number of a version"],
    "٣ 1": ["٣: not found"],
    "1 2 3 4 5 6 7": ["2 to 6"],
    "": ["Missing argument"],
}


@pytest.mark.parametrize("arguments", BAD)
def test_what_cannot_be_compared_is_told_in_one_line(spineline, old, new, tmp_path, arguments):
    (tmp_path / "noise.txt").write_text("hello")
    (tmp_path / "other.json").write_text('{"scans": 3}')
    (tmp_path / "folder").mkdir()
    (tmp_path / "page.html").write_bytes(new.read_bytes())
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    told = spineline("compare", *arguments.split())
    assert told.code == 2 and told.out == ""
    assert told.error.startswith("error: ")
    for words in BAD[arguments]:
        assert words in told.error
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_a_page_into_a_missing_folder_is_refused_before_anything_is_read(spineline, tmp_path):
    told = spineline("compare", "1", "2", "--html", tmp_path / "nowhere" / "page.html")
    assert "a folder for the page" in told.error and not (tmp_path / "nowhere").exists()


def test_a_page_into_a_folder_that_refuses_files_is_refused_by_its_name(spineline, old, new, monkeypatch):
    def refuse(**given):
        raise PermissionError(13, "Permission denied", str(given["dir"] / "tmp3fk2"))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    told = spineline("compare", old, new, "--html", old.parent / "page.html")
    assert told.code == 2 and f"a folder to write to ({old.parent}: permission denied)" in told.error
    assert "tmp3fk2" not in told.error and told.out == ""
