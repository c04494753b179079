"""From two folders of masks to a verdict: scores, files, exit codes and strict JSON."""

import json

import pytest

LUMBAR = (20, 21, 22, 23)
CASES = {f"case_{number}": LUMBAR for number in range(4)}
POLICY = """
name: toy
about: For tests.
minimum_scans: 3
floors: {dice_scan_mean: 0.9, id_rate: 0.9, wrong_level_rate_at_most: 0.1}
champion: {minimum_region_patients: 2, resamples: 1000}
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
