"""From two folders of masks to a verdict: scores, files, exit codes and strict JSON."""

import json
import re

import pytest

LUMBAR = (20, 21, 22, 23)
CASES = {f"case_{number}": LUMBAR for number in range(4)}
POLICY = """
name: toy
about: For tests.
minimum_scans: 3
floors: {dice_scan_mean: 0.9, id_rate: 0.9, wrong_level_rate_at_most: 0.1}
champion: {minimum_region_patients: 2, resamples: 10000}
"""


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "toy.yaml").write_text(POLICY)
    return tmp_path / "toy.yaml"


@pytest.fixture
def evaluated(spineline, masks, tmp_path):
    """A function that evaluates predictions against the references: (answer, file)."""
    references = masks("references", CASES)

    def evaluate(name, cases, *options):
        predictions, output = masks(name, cases), tmp_path / "out" / f"{name}.json"
        given = ("--references", references, "--predictions", predictions, "--output", output, "--name", name)
        given += ("--workers", 1)
        return spineline("evaluate", *given, *options), output

    return evaluate


def test_perfect_masks_score_one_and_pass(evaluated, spineline, policy):
    told, output = evaluated("perfect", CASES)
    assert told.code == 0 and "perfect: 4 scans" in told.out
    summary = strict(output.read_text())["summary"]
    assert (summary["dice_scan_mean"], summary["id_rate"], summary["wrong_level_rate"]) == (1, 1, 0)
    assert spineline("gate", "--candidate", output, "--policy", policy).code == 0


def test_masks_one_level_off_are_named_as_such_and_fail(evaluated, spineline, policy):
    _, output = evaluated("shifted", dict.fromkeys(CASES, (21, 22, 23, 24)))
    assert strict(output.read_text())["summary"]["wrong_level_rate"] == 1
    told = spineline("gate", "--candidate", output, "--policy", policy)
    assert told.code == 1 and "BROKEN" in told.out and told.err == ""


def test_too_few_scans_are_no_pass(spineline, masks, tmp_path, policy):
    references = masks("few", {"a": LUMBAR, "b": LUMBAR})
    given = ("--references", references, "--predictions", references, "--output", tmp_path / "few.json")
    assert spineline("evaluate", *given).code == 0
    told = spineline("gate", "--candidate", tmp_path / "few.json", "--policy", policy, "--json")
    assert (told.code, strict(told.out)["outcome"]) == (1, "inconclusive")


def test_a_missing_prediction_scores_zero_and_is_named(evaluated, spineline, policy):
    told, output = evaluated("partial", dict.fromkeys(list(CASES)[:3], LUMBAR))
    assert told.code == 0 and "missing predictions, scored 0: case_3" in told.out
    summary = strict(output.read_text())["summary"]
    assert summary["dice_scan_mean"] == pytest.approx(0.75)
    assert summary["missing_predictions"] == ["case_3"]
    assert spineline("gate", "--candidate", output, "--policy", policy).code == 1


def test_json_on_stdout_is_strict_and_the_same_as_the_file(evaluated):
    told, output = evaluated("partial", {"case_0": LUMBAR}, "--json")
    assert strict(told.out) == strict(output.read_text())
    assert not list(output.parent.glob(".partial-*"))


def test_a_verdict_as_json_is_sealed_and_repeats_to_the_digit(evaluated, spineline, policy):
    _, output = evaluated("perfect", CASES)
    answers = [spineline("gate", "--candidate", output, "--policy", policy, "--json") for _ in range(2)]
    verdict = strict(answers[0].out)
    assert answers[0].out == answers[1].out
    assert verdict["outcome"] == "pass" and verdict["digest"].startswith("sha256:")


def test_a_candidate_worse_than_the_one_in_use_does_not_pass(evaluated, spineline, policy):
    _, champion = evaluated("champion", CASES)
    _, same = evaluated("same", CASES)
    # One wrong level in one scan of four leaves these floors standing.
    worse_cases = {**CASES, "case_0": (20, 21, 22, 24)}
    _, worse = evaluated("worse", worse_cases)
    floors = policy.with_name("floors.yaml")
    floors.write_text(POLICY.replace("0.9, id_rate: 0.9", "0.5, id_rate: 0.5").replace("at_most: 0.1", "at_most: 1"))
    alone = spineline("gate", "--candidate", worse, "--policy", floors)
    against = spineline("gate", "--candidate", worse, "--policy", floors, "--champion", champion)
    equal = spineline("gate", "--candidate", same, "--policy", floors, "--champion", champion)
    assert (alone.code, against.code, equal.code) == (0, 1, 0)


def test_a_champion_seen_on_other_scans_is_no_evidence(evaluated, spineline, masks, tmp_path, policy):
    _, output = evaluated("perfect", CASES)
    other = masks("other", {f"x_{number}": LUMBAR for number in range(4)})
    given = ("--references", other, "--predictions", other, "--output", tmp_path / "other.json")
    assert spineline("evaluate", *given).code == 0
    told = spineline("gate", "--candidate", output, "--policy", policy, "--champion", tmp_path / "other.json")
    print(told)
    assert told.code == 2 and "expected" in told.error


def test_a_prediction_without_a_reference_changes_nothing(evaluated):
    _, alone = evaluated("alone", CASES)
    _, more = evaluated("more", {**CASES, "stray": (1, 2)})
    assert strict(alone.read_text())["summary"] == strict(more.read_text())["summary"]


def test_running_again_replaces_the_file_as_a_whole(evaluated):
    _, output = evaluated("perfect", CASES)
    first = output.read_bytes()
    output.write_text("old" * 10000)
    assert evaluated("perfect", CASES)[1].read_bytes() == first


def test_names_that_are_wrong_are_told_in_words_and_regions_in_a_table(evaluated):
    told, _ = evaluated("shifted", {**CASES, "case_1": (21, 22, 23, 24), "case_2": (20, 21, 22, 24)})
    assert "vertebrae under a wrong name in 2 of 4 scans:" in told.out
    lines = [line.strip() for line in told.out.splitlines()]
    assert "case_1: L1-L4 called L2-L5" in lines and "case_2: L4 called L5" in lines
    row = next(line for line in lines if line.startswith("│ L1-L5"))
    assert [cell.strip() for cell in row.strip("│").split("│")][1:3] == ["4", "16"]
    assert "scans at a wrong level" in told.out and "HD95" in told.out


def test_only_the_first_of_many_wrong_scans_are_told(spineline, masks, tmp_path):
    references = masks("many", {f"c{number:02d}": LUMBAR for number in range(23)})
    predictions = masks("wrong", {f"c{number:02d}": (21, 22, 23, 24) for number in range(23)})
    given = ("--references", references, "--predictions", predictions, "--output", tmp_path / "many.json")
    told = spineline("evaluate", *given, "--workers", 1, "--no-surfaces")
    assert told.out.count(" called ") == 20
    assert f"and 3 more scans, in {tmp_path / 'many.json'}" in told.out


def test_without_surfaces_nothing_is_said_about_them(evaluated):
    told, output = evaluated("perfect", CASES, "--no-surfaces")
    summary = strict(output.read_text())["summary"]
    assert told.code == 0 and summary["nsd_3mm"] is summary["hd95_mm"] is None
    assert "NSD at" not in told.out


def test_scores_do_not_depend_on_the_number_of_workers(evaluated):
    _, output = evaluated("perfect", CASES)
    alone = output.read_bytes()
    assert evaluated("perfect", CASES, "--workers", 3)[1].read_bytes() == alone


def test_progress_counts_references_and_ends_at_their_number(evaluated):
    told, _ = evaluated("more", {**CASES, "stray": (1, 2)})
    assert told.err.splitlines()[-1].startswith("evaluate: score 4/4  case_")


def test_scans_of_one_patient_are_one_where_a_table_says_so(evaluated, spineline, policy, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text(
        "\ufeffcase,patient,age\n" + "".join(f"{case},p{number // 2},70\n" for number, case in enumerate(CASES))
    )
    _, candidate = evaluated("candidate", CASES, "--patients", table)
    _, champion = evaluated("champion", {**CASES, "case_0": (20, 21, 22, 24)})
    assert [scan["patient"] for scan in strict(candidate.read_text())["scans"]] == ["p0", "p0", "p1", "p1"]
    told = spineline("gate", "--candidate", candidate, "--champion", champion, "--policy", policy, "--json")
    assert {rule["difference"]["patients"] for rule in strict(told.out)["rules"] if rule["difference"]} == {2}


def test_foreign_ids_are_read_where_their_label_map_is_named(spineline, masks, tmp_path):
    references = masks("references", {"a": (23, 24, 25)})
    # L4, L5 and S1 are 28, 27 and 26 there; L1 is 31 and absent.
    predictions = masks("totalsegmentator", {"a": (28, 27, 26)})
    given = ("--references", references, "--predictions", predictions, "--output", tmp_path / "out.json")
    assert spineline("evaluate", *given).error.count("label 28 found") == 1
    assert spineline("evaluate", *given, "--labels", "totalsegmentator").code == 0
    assert strict((tmp_path / "out.json").read_text())["summary"]["dice_scan_mean"] == 1
    # The other way round, and VerSe's 25 is an L6, not S1.
    given = ("--references", predictions, "--predictions", references, "--output", tmp_path / "out.json")
    assert spineline("evaluate", *given, "--reference-labels", "totalsegmentator", "--labels", "verse").code == 0
    scan = strict((tmp_path / "out.json").read_text())["scans"][0]
    assert [(score["label"], score["dice"]) for score in scan["labels"]] == [(23, 1), (24, 1), (25, 0)]


BAD = {
    "--labels kits": ["unknown label map 'kits'", "verse"],
    "--reference-labels kits": ["unknown label map 'kits'"],
    "--workers 0": ["--workers", "'0'"],
    "--output out.txt": ["output is 'out.txt'; expected a file named .json"],
    "--output references": ["output is 'references'; expected a file named .json"],
    "--output perfect/case_0.nii.gz": ["output is 'perfect/case_0.nii.gz'", ".json"],
    "--output toy.yaml/out.json": ["output is 'toy.yaml/out.json'", "toy.yaml (not a directory)"],
    "--output /proc/new/out.json": ["output is '/proc/new/out.json'", "can be written to, unlike /proc ("],
    "--patients nowhere.csv": ["nowhere.csv: not found; expected a CSV with the header case,patient"],
    "--patients header.csv": ["header.csv: header is 'scan,person'; expected a CSV"],
    "--patients two.csv": ["case 'case_0' is of patients 'a' and 'b'; expected one patient a case"],
    "--patients other.csv": ["is None; expected a patient for every reference"],
    "--patients binary.csv": ["binary.csv: can't be read"],
}


@pytest.mark.parametrize("options", BAD)
def test_what_can_not_be_done_is_one_line_before_anything_is_scored(evaluated, policy, tmp_path, options):
    (tmp_path / "header.csv").write_text("scan,person\na,b\n")
    (tmp_path / "two.csv").write_text("case,patient\ncase_0,a\ncase_0,b\n")
    (tmp_path / "other.csv").write_text("case,patient\nx,y\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    told, output = evaluated("perfect", CASES, *options.split())
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert all(words in told.error for words in BAD[options]) and "expected" in told.error
    assert not output.exists() and not output.parent.exists()


def summary_of_nnunet(path, dice):
    """Write nnU-Net's summary.json of the toy cases, in which a share of each vertebra was found."""
    found = round(800 * dice / (2 - dice))
    counts = {"Dice": dice, "IoU": 0.5, "TP": found, "FP": 0, "FN": 800 - found, "TN": 9, "n_pred": found, "n_ref": 800}
    absent = {"Dice": float("nan"), "IoU": float("nan"), "TP": 0, "FP": 0, "FN": 0, "TN": 9, "n_pred": 0, "n_ref": 0}
    cases = [
        {
            "reference_file": f"labelsTs/{case}.nii.gz",
            "prediction_file": f"out/{case}.nii.gz",
            "metrics": {str(label): counts if label in LUMBAR else absent for label in range(1, 26)},
        }
        for case in CASES
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"foreground_mean": {"Dice": float("nan")}, "mean": {}, "metric_per_case": cases}))
    return path


def test_the_model_in_use_today_may_be_known_from_nnunets_summary_alone(evaluated, spineline, policy, tmp_path):
    _, candidate = evaluated("perfect", CASES)
    champion = summary_of_nnunet(tmp_path / "today" / "summary.json", 0.8)
    assert "NaN" in champion.read_text()
    told = spineline("gate", "--candidate", candidate, "--champion", champion, "--policy", policy)
    assert (told.code, told.err) == (0, "")
    back = spineline("gate", "--candidate", champion, "--champion", candidate, "--policy", policy, "--json")
    assert (back.code, strict(back.out)["outcome"]) == (1, "fail")
    alone = spineline("gate", "--candidate", summary_of_nnunet(tmp_path / "s.json", 0.95), "--policy", policy, "--json")
    rules = {rule["name"]: rule["passed"] for rule in strict(alone.out)["rules"]}
    # Counts tell no names: what a policy asks about them stays undecided rather than passed.
    assert (alone.code, strict(alone.out)["outcome"], rules["identification rate"]) == (1, "inconclusive", None)


def test_a_verdict_is_shown_with_intervals_and_thresholds(evaluated, spineline, policy):
    _, champion = evaluated("champion", {**CASES, "case_0": (20, 21, 22, 24)})
    _, candidate = evaluated("perfect", CASES)
    told = spineline("gate", "--candidate", candidate, "--champion", champion, "--policy", policy)
    head = next(line for line in told.out.splitlines() if "rule" in line and "decision" in line)
    assert "interval" in head and "worst cases" in head
    assert re.search(r"-?\d\.\d{3} to -?\d\.\d{3}", told.out)
