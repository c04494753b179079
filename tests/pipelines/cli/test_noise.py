"""Two trainings of one recipe held against a policy's margins: the table, strict JSON and exit codes."""

import json

import pytest

LUMBAR = (20, 21, 22, 23)
CASES = {f"case_{number}": LUMBAR for number in range(4)}
POLICY = """
name: toy
about: For tests.
version: 2
minimum_scans: 3
floors: {{dice_scan_mean: 0.9}}
champion: {{minimum_region_patients: 2, margin_overall: {margin}, margin_region: {margin}}}
"""


@pytest.fixture
def trainings(spineline, masks, tmp_path):
    """Evaluations of two trainings, the second of which lost a vertebra of one case."""
    references = masks("references", CASES)

    def evaluate(name, cases):
        output = tmp_path / f"{name}.json"
        given = ("--references", references, "--predictions", masks(name, cases), "--output", output, "--name", name)
        assert spineline("evaluate", *given).code == 0
        return output

    return evaluate("seed_1", CASES), evaluate("seed_2", {**CASES, "case_2": LUMBAR[:3]})


@pytest.mark.parametrize(("margin", "code", "said"), [(0.01, 1, "WITHIN THE NOISE"), (0.9, 0, "exceeds the noise")])
def test_the_exit_code_says_whether_every_margin_exceeds_the_noise(trainings, spineline, tmp_path, margin, code, said):
    policy = tmp_path / "toy.yaml"
    policy.write_text(POLICY.format(margin=margin))
    told = spineline("noise", *trainings, "--policy", policy)
    assert (told.code, told.err) == (code, "")
    assert said in told.out and "policy toy, version 2: seed_2 minus seed_1" in told.out


def test_json_is_strict_and_says_the_same(trainings, spineline, tmp_path):
    policy = tmp_path / "toy.yaml"
    policy.write_text(POLICY.format(margin=0.01))
    told = spineline("noise", *trainings, "--policy", policy, "--json")
    found = json.loads(told.out, parse_constant=pytest.fail)
    assert told.code == 1
    assert [margin["name"] for margin in found["margins"]] == ["mean Dice", "Dice of L1-L5"]
    assert found["margins"][0]["difference"]["patients"] == 4


def test_one_evaluation_twice_is_refused_in_one_line(trainings, spineline):
    told = spineline("noise", trainings[0], trainings[0], "--policy", "demo")
    assert told.code == 2
    assert "have the same scores; expected two trainings" in told.error


def test_a_version_that_is_not_registered_is_refused_in_one_line(trainings, spineline):
    told = spineline("noise", trainings[0], "7", "--policy", "demo")
    assert told.code == 2
    assert "7" in told.error


@pytest.mark.slow
def test_versions_are_read_from_the_registry_by_their_number(registry_with_two_versions, spineline):
    told = spineline("noise", 1, 2, "--policy", "demo")
    assert told.code == 2
    assert "'tiny 1' and 'tiny 2' have the same scores" in told.error
