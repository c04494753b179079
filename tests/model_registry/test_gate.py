"""The gate: floors, evidence and the model in use, each with what passes, what fails and what can't be told."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from model_registry.errors import EvidenceError
from model_registry.gate import judge
from model_registry.policy import Floors, Policy, load_policy
from model_registry.rates import Counts, all_right, extra_vertebra, identified, misnamed, wrong_level
from model_registry.verdict import Rule, Verdict
from spine.errors import SpinelineError
from spine.metrics.scores import Evaluation, Summary
from spine.metrics.summary import summarize

Evaluate = Callable[..., Evaluation]
MakePolicy = Callable[..., Policy]
Counted = Callable[[Evaluation], Evaluation]
DICES = [0.80 + 0.01 * number for number in range(12)]


def rule(verdict: Verdict, name: str) -> Rule:
    return next(rule for rule in verdict.rules if rule.name.startswith(name))


def noise(spread: float, count: int = 12) -> list[float]:
    """Dice around 0.85 with the given spread, of mean 0.85 unless some would exceed 1."""
    values = np.random.default_rng(2).normal(0, spread, count)
    return [float(value) for value in np.clip(0.85 + values - values.mean(), 0, 1)]


def names(verdict: Verdict) -> set[str]:
    return {rule.name for rule in verdict.rules}


@pytest.mark.parametrize("name", ["demo", "research"])
def test_a_shipped_policy_passes_what_reaches_all_its_floors(evaluate: Evaluate, name: str) -> None:
    good = evaluate([0.95] * 30, labels=range(1, 26))
    verdict = judge(candidate=good, champion=None, policy=load_policy(name))
    assert verdict.outcome == "pass", verdict.summary
    assert (verdict.policy_name, verdict.champion, verdict.scans) == (name, None, 30)


@pytest.mark.parametrize(
    ("floors", "dices", "fields", "failing"),
    [
        (Floors(dice_scan_mean=0.8), [0.8] * 6, {}, None),
        (Floors(dice_scan_mean=0.8), [0.79] * 6, {}, "mean Dice (GT-present, over patients)"),
        (Floors(dice_scan_mean=0, id_rate=0.9), [0.8] * 6, {}, None),
        (Floors(dice_scan_mean=0, id_rate=0.9), [0.8] * 4 + [0.3] * 2, {}, "identification rate"),
        (Floors(dice_scan_mean=0, all_correct_rate=0.9), [0.8] * 5 + [0.3], {}, "scans with all levels right"),
        (Floors(dice_scan_mean=0, wrong_level_rate_at_most=0.2), [0.8] * 6, {"shifted": [1]}, None),
        (Floors(dice_scan_mean=0, wrong_level_rate_at_most=0.2), [0.8] * 6, {"shifted": [1, 4]},
         "scans named at a wrong level"),
        (Floors(dice_scan_mean=0, region_dice={"L1-L5": 0.9}), [0.8] * 6, {}, "mean Dice of L1-L5"),
        (Floors(dice_scan_mean=0, region_dice={"L1-L5": 0.8}), [0.8] * 6, {}, None),
        (Floors(dice_scan_mean=0, region_dice={"C1-C4": 0.9}), [0.8] * 6, {}, None),
    ],
)  # fmt: skip
def test_a_floor_is_reached_or_fails_by_its_name(
    evaluate: Evaluate, make_policy: MakePolicy, floors: Floors, dices: list[float], fields: dict[str, object],
    failing: str | None,
) -> None:  # fmt: skip
    verdict = judge(candidate=evaluate(dices, **fields), champion=None, policy=make_policy(floors=floors))
    assert [rule.name for rule in verdict.rules if not rule.passed] == ([failing] if failing else [])
    assert verdict.outcome == ("fail" if failing else "pass")
    assert verdict.summary.startswith(f"fail: {failing} is 0." if failing else "pass: all")


def test_a_floor_is_told_with_the_interval_of_its_score(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    floors = Floors(dice_scan_mean=0.7, id_rate=0.5, all_correct_rate=0.5, region_dice={"L1-L5": 0.7})
    verdict = judge(candidate=evaluate([*DICES, 0.4]), champion=None, policy=make_policy(floors=floors))
    told = [rule for rule in verdict.rules if rule.name.startswith(("mean Dice", "identification", "scans with all"))]
    assert len(told) == 4
    for each in told:
        assert each.value is not None and each.low is not None and each.high is not None
        assert each.threshold is not None
        assert 0 <= each.low < each.value < each.high <= 1


def test_scans_of_one_patient_widen_the_interval_of_a_floor(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    alone = evaluate([0.8] * 6 + [0.9] * 6)
    paired = Evaluation(
        name="model",
        scans=tuple(scan.model_copy(update={"patient": f"p{n // 2}"}) for n, scan in enumerate(alone.scans)),
        summary=alone.summary,
    )
    wide, narrow = (
        rule(judge(candidate=each, champion=None, policy=make_policy()), "mean Dice") for each in (paired, alone)
    )
    assert wide.low < narrow.low < narrow.high < wide.high  # type: ignore[operator]


@pytest.mark.parametrize(("counts", "summary_of"), [
    (identified, lambda summary: summary.id_rate), (all_right, lambda summary: summary.all_correct_rate),
    (wrong_level, lambda summary: summary.wrong_level_rate), (misnamed, lambda summary: summary.misnamed_rate),
    (extra_vertebra, lambda summary: summary.extra_vertebra_rate),
])  # fmt: skip
def test_what_a_rate_counts_is_what_the_summary_counts(
    evaluate: Evaluate, counts: Counts, summary_of: Callable[[Summary], float]
) -> None:
    candidate = evaluate([0.9, 0.2, 0.8, 0.1, 0.85], shifted=[1, 3], missing=[4], called={1: 19, 2: 0}, extra=[2])
    counted = [counts(scan) for scan in candidate.scans]
    assert sum(hits for hits, _ in counted) / sum(of for _, of in counted) == summary_of(candidate.summary)


def test_a_rare_level_that_is_bad_breaks_the_macro_floor_not_the_scan_mean(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    candidate = evaluate([0.95] * 19 + [0.1], of={19: (1,)})
    verdict = judge(candidate=candidate, champion=None, policy=make_policy())
    assert verdict.outcome == "pass"
    floors = Floors(dice_scan_mean=0.7, dice_label_macro=0.85)
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=floors))
    assert rule(verdict, "mean Dice (GT-present, label macro)").passed is False


def test_a_shifted_block_breaks_the_misnamed_floor(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    candidate = evaluate([0.9] * 10, called={3: 21})
    floors = Floors(dice_scan_mean=0.7, misnamed_rate_at_most=0.01)
    found = rule(judge(candidate=candidate, champion=None, policy=make_policy(floors=floors)), "vertebrae with another")
    assert (found.passed, found.value, found.worst_cases) == (False, 0.02, ("case_0003",))


def test_floors_that_voxel_counts_cannot_show_are_inconclusive_by_name(
    counted: Counted, evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    floors = Floors(dice_scan_mean=0.7, id_rate=0.5, all_correct_rate=0.5, wrong_level_rate_at_most=0.5)
    verdict = judge(candidate=counted(evaluate([0.9] * 6)), champion=None, policy=make_policy(floors=floors))
    assert verdict.outcome == "inconclusive"
    assert rule(verdict, "mean Dice").passed
    assert [each.name for each in verdict.rules if each.passed is None] == [
        "missing predictions", "identification rate", "scans with all levels right", "scans named at a wrong level",
    ]  # fmt: skip
    told = "inconclusive: missing predictions is not known, expected none (nnU-Net's summary lists predictions only); 3"
    assert verdict.summary.startswith(told)
    assert rule(verdict, "identification rate").value is None


def test_a_model_in_use_of_voxel_counts_is_compared_on_dice(
    counted: Counted, evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    verdict = judge(candidate=evaluate(DICES), champion=counted(evaluate(DICES)), policy=make_policy())
    assert verdict.outcome == "pass"
    assert rule(verdict, "Dice of L1-L5 against").passed
    wilcoxon, mcnemar = verdict.secondary
    assert (wilcoxon.p_value, mcnemar.p_value, mcnemar.said) == (1.0, None, "not known of both models")


def test_the_scans_named_at_a_wrong_level_and_the_worst_ones_are_listed(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    candidate = evaluate([0.9, 0.2, 0.8, 0.1, 0.85, 0.86, 0.87], shifted=[3])
    floors = Floors(dice_scan_mean=0.9, wrong_level_rate_at_most=0)
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=floors))
    worst = rule(verdict, "mean Dice").worst_cases
    assert worst == ("case_0003", "case_0001", "case_0002", "case_0004", "case_0005")
    assert rule(verdict, "scans named at").worst_cases == ("case_0003",)


@pytest.mark.parametrize("patients", [None, ["ann"] * 6 + ["ben", "cy", "dora", "eve"]])
def test_too_few_patients_are_inconclusive(
    evaluate: Evaluate, make_policy: MakePolicy, patients: list[str] | None
) -> None:
    """Five scans of unknown patients, or ten of five."""
    candidate = evaluate([0.9] * (10 if patients else 5), patients=patients)
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(minimum_scans=6))
    assert verdict.outcome == "inconclusive"
    assert verdict.summary.startswith(
        "inconclusive: patients with labels is 5, expected at least 6; about 1 more case like these would decide; "
        f"mean Dice 0.900 over 5 {'patients' if patients else 'scans'}"
    )


def test_many_scans_of_one_patient_are_inconclusive(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    same = evaluate([0.9] * 40, patients=["ann"] * 40)
    verdict = judge(candidate=same, champion=same, policy=make_policy(minimum_scans=2))
    assert verdict.outcome == "inconclusive"
    assert rule(verdict, "patients with labels").value == 1
    assert rule(verdict, "mean Dice against").passed is None


def test_a_floor_holds_the_mean_over_patients_not_over_scans(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    """Seven good scans of one patient outweigh three bad ones of three only where scans are counted."""
    candidate = evaluate([0.9] * 7 + [0.6] * 3, patients=["ann"] * 7 + ["ben", "cy", "dora"])
    floors = Floors(dice_scan_mean=0.7, region_dice={"L1-L5": 0.7}, level_dice={"L3": 0.7}, dice_label_macro=0.7)
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=floors))
    told = [each for each in verdict.rules if each.name.startswith("mean Dice")]
    assert [(each.value, each.passed) for each in told] == [(0.675, False)] * 4
    assert all(each.low <= 0.675 <= each.high for each in told if each.low is not None and each.high is not None)
    assert "mean Dice 0.675 over 4 patients" in verdict.summary


def test_scans_without_labels_do_not_count_as_evidence(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    empty = dict.fromkeys(range(3, 9), ())
    verdict = judge(candidate=evaluate([0.9] * 9, of=empty), champion=None, policy=make_policy(minimum_scans=4))
    assert (verdict.outcome, verdict.scans) == ("inconclusive", 3)


def test_no_scan_at_all_is_inconclusive(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    verdict = judge(candidate=evaluate([]), champion=None, policy=make_policy())
    assert verdict.outcome == "inconclusive"
    assert "no scan with labels" in verdict.summary


def test_a_floor_that_fails_outweighs_evidence_that_is_missing(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    verdict = judge(candidate=evaluate([0.1] * 5), champion=None, policy=make_policy(minimum_scans=6))
    assert verdict.outcome == "fail"


def test_a_missing_prediction_fails_and_is_named(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    candidate = evaluate([0.9] * 9 + [0.0], missing=[9])
    verdict = judge(candidate=candidate, champion=None, policy=make_policy())
    assert verdict.outcome == "fail"
    assert rule(verdict, "missing predictions").worst_cases == ("case_0009",)


def test_a_required_region_that_no_scan_shows_is_inconclusive_and_named(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    verdict = judge(candidate=evaluate([0.9] * 6), champion=None, policy=make_policy(required_regions=("L1-L5", "S1")))
    assert verdict.outcome == "inconclusive"
    assert rule(verdict, "patients that show L1-L5").passed
    assert "patients that show S1 is 0, expected at least 4" in verdict.summary
    assert verdict.regions_without_cases == ("C1-C4", "C5-C7", "T1-T4", "T5-T9", "T10-T12", "S1")
    assert "nothing is said of C1-C4, C5-C7, T1-T4, T5-T9, T10-T12, S1" in verdict.summary


def test_a_region_floor_met_without_its_hard_level_passes_only_where_no_level_is_required(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    floors, candidate = Floors(dice_scan_mean=0.7, region_dice={"T10-T12": 0.8}), evaluate([0.9] * 6, labels=(17, 18))
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=floors))
    assert verdict.outcome == "pass" and "T12" in verdict.levels_without_cases
    required = make_policy(floors=floors, required_regions=("T10-T12",), required_levels=("T12",))
    verdict = judge(candidate=candidate, champion=None, policy=required)
    assert verdict.outcome == "inconclusive"
    assert "patients that show T12 is 0, expected at least 1" in verdict.summary


@pytest.mark.parametrize("compared", [False, True])
def test_a_required_region_that_few_patients_show_is_undecided(
    evaluate: Evaluate, make_policy: MakePolicy, compared: bool
) -> None:
    """Four scans of three patients show S1: enough scans, not enough patients."""
    sacral: dict[int, tuple[int, ...]] = dict.fromkeys(range(4), (24, 25))
    patients = ["ann", *(f"p{number}" for number in range(1, 12))]
    patients[1] = "ann"
    same = evaluate(DICES, of=sacral, patients=patients)
    policy = make_policy(required_regions=("L1-L5", "S1"))
    verdict = judge(candidate=same, champion=same if compared else None, policy=policy)
    found = rule(verdict, "patients that show S1")
    assert (verdict.outcome, found.passed, found.value, found.more_cases) == ("inconclusive", None, 3, 1)
    unrequired = judge(candidate=same, champion=same if compared else None, policy=make_policy())
    assert unrequired.outcome == "pass"
    assert unrequired.regions_not_compared == (("S1",) if compared else ())


def test_a_level_that_is_lost_breaks_its_floor_though_its_region_does_not(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    """T10 is lost in the two scans that show it; the region's mean over twelve scans hides it."""
    candidate = evaluate([0.95] * 10 + [0.3] * 2, labels=(18, 19), of=dict.fromkeys((10, 11), (17,)))
    region = Floors(dice_scan_mean=0.7, region_dice={"T10-T12": 0.8})
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=region))
    assert verdict.outcome == "pass"
    every = region.model_copy(update={"every_level_dice": 0.5})
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=every))
    found = rule(verdict, "mean Dice of every level, lowest in T10")
    assert (verdict.outcome, found.value, found.worst_cases) == ("fail", 0.3, ("case_0010", "case_0011"))
    named = region.model_copy(update={"level_dice": {"T10": 0.5, "T11": 0.5, "C1": 0.5}})
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=named))
    levels = [(each.name, each.passed) for each in verdict.rules if each.name.startswith("mean Dice of T1")]
    assert levels == [("mean Dice of T10-T12", True), ("mean Dice of T10", False), ("mean Dice of T11", True)]


def test_a_hallucinated_vertebra_breaks_its_floor_on_an_empty_reference_too(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    candidate = evaluate([0.9] * 10, of={4: ()}, extra=[4, 7])
    floors = Floors(dice_scan_mean=0.7, extra_vertebra_rate_at_most=0.1)
    verdict = judge(candidate=candidate, champion=None, policy=make_policy(floors=floors))
    found = rule(verdict, "scans with an extra vertebra")
    assert (verdict.outcome, found.value) == ("fail", 0.2)
    assert set(found.worst_cases) == {"case_0004", "case_0007"}
    allowed = floors.model_copy(update={"extra_vertebra_rate_at_most": 0.2})
    assert judge(candidate=candidate, champion=None, policy=make_policy(floors=allowed)).outcome == "pass"


@pytest.mark.parametrize(
    ("difference", "against", "outcome"),
    [
        (0.0, {}, "pass"),
        (-0.005, {}, "pass"),
        (-0.05, {}, "fail"),
        (0.05, {}, "pass"),
        (0.0, {"rule": "superior"}, "fail"),
        (0.02, {"rule": "superior"}, "pass"),
        (-0.05, {"margin_overall": 0.06, "margin_region": 0.06}, "pass"),
        (-0.02, {"margin_overall": 0.03, "margin_region": 0.01}, "fail"),
    ],
)
def test_a_candidate_that_differs_everywhere_alike_is_decided_by_the_margin(
    evaluate: Evaluate, make_policy: MakePolicy, difference: float, against: dict[str, object], outcome: str
) -> None:
    champion = evaluate(DICES, name="old")
    candidate = evaluate([dice + difference for dice in DICES], name="new")
    verdict = judge(candidate=candidate, champion=champion, policy=make_policy(against=against))
    assert verdict.outcome == outcome, verdict.summary
    assert verdict.champion == champion.digest
    assert rule(verdict, "mean Dice against the model in use").value == pytest.approx(difference)


def test_an_identical_evaluation_is_non_inferior(evaluate: Evaluate) -> None:
    same = evaluate(DICES, labels=range(15, 26))
    verdict = judge(candidate=same, champion=same, policy=load_policy("demo"))
    assert verdict.outcome == "pass"
    assert {"Dice of L1-L5 against the model in use", "Dice of S1 against the model in use"} <= names(verdict)


def test_a_noisy_comparison_is_inconclusive_and_says_what_it_could_have_seen(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    policy = make_policy(floors=Floors(dice_scan_mean=0.5))
    verdict = judge(candidate=evaluate(noise(0.1)), champion=evaluate([0.85] * 12), policy=policy)
    assert verdict.outcome == "inconclusive"
    overall = rule(verdict, "mean Dice against the model in use")
    assert overall.passed is None
    assert overall.difference
    assert overall.difference.patients == 12
    assert overall.difference.detectable
    assert f"smallest difference this test can see is {overall.difference.detectable:.3f}" in verdict.summary
    assert overall.worst_cases[0] == f"case_{int(np.argmin(noise(0.1))):04d}"


def test_an_undecided_rule_says_how_many_more_cases_would_decide(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    policy = make_policy(floors=Floors(dice_scan_mean=0.5))
    verdict = judge(candidate=evaluate(noise(0.03)), champion=evaluate([0.85] * 12), policy=policy)
    overall = rule(verdict, "mean Dice against")
    assert overall.passed is None and overall.more_cases
    assert f"about {overall.more_cases} more cases like these would decide" in verdict.summary
    many = 12 + 2 * overall.more_cases
    verdict = judge(candidate=evaluate(noise(0.03, many)), champion=evaluate([0.85] * many), policy=policy)
    assert rule(verdict, "mean Dice against").passed


def test_a_mean_on_the_bound_is_decided_by_no_number_of_cases(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    policy = make_policy(floors=Floors(dice_scan_mean=0.5), against={"rule": "superior"})
    verdict = judge(candidate=evaluate([0.75, 0.85] * 6), champion=evaluate([0.85, 0.75] * 6), policy=policy)
    overall = rule(verdict, "mean Dice against")
    assert (overall.passed, overall.more_cases) == (None, None)
    assert "no number of cases up to 10000 more would decide" in verdict.summary


def test_only_cases_that_got_worse_are_named_as_hurting(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    candidate = evaluate([dice + 0.02 for dice in DICES[:-2]] + [DICES[-2] - 0.01, DICES[-1] - 0.02])
    verdict = judge(candidate=candidate, champion=evaluate(DICES), policy=make_policy())
    assert rule(verdict, "mean Dice against").worst_cases == ("case_0011", "case_0010")


def test_more_scans_of_the_same_noise_decide(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    policy = make_policy(floors=Floors(dice_scan_mean=0.5))
    verdict = judge(candidate=evaluate(noise(0.02, 400)), champion=evaluate([0.85] * 400), policy=policy)
    assert verdict.outcome == "pass", verdict.summary


def test_a_region_that_is_worse_fails_though_the_mean_is_not(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    """Five scans show S1 only, and are worse; fifteen others are better."""
    sacral: dict[int, tuple[int, ...]] = dict.fromkeys(range(5), (25,))
    champion = evaluate([0.85] * 20, of=sacral)
    candidate = evaluate([0.80] * 5 + [0.93] * 15, of=sacral)
    verdict = judge(candidate=candidate, champion=champion, policy=make_policy())
    assert rule(verdict, "mean Dice against").passed
    assert rule(verdict, "Dice of L1-L5 against").passed
    assert rule(verdict, "Dice of S1 against").passed is False
    assert verdict.outcome == "fail"


@pytest.mark.parametrize(("shown", "compared"), [(0, False), (1, False), (3, False), (4, True)])
def test_a_region_that_few_scans_show_is_named_and_not_compared(
    evaluate: Evaluate, make_policy: MakePolicy, shown: int, compared: bool
) -> None:
    sacral: dict[int, tuple[int, ...]] = dict.fromkeys(range(shown), (24, 25))
    same = evaluate(DICES, of=sacral)
    verdict = judge(candidate=same, champion=same, policy=make_policy(against={"minimum_region_patients": 4}))
    assert ("Dice of S1 against the model in use" in names(verdict)) is compared
    assert verdict.regions_not_compared == (("S1",) if 0 < shown < 4 else ())
    assert ("S1" in verdict.regions_without_cases) is (shown == 0)
    assert verdict.outcome == "pass"


@pytest.mark.parametrize(
    ("champion", "odd"), [({"dices": DICES[:-1]}, "1 in one only, first case_0011"),
                          ({"dices": DICES, "prefix": "scan"}, "24 in one only, first case_0000"),
                          ({"dices": DICES, "of": {4: ()}}, "1 in one only, first case_0004")]
)  # fmt: skip
def test_evaluations_of_different_scans_are_not_compared(
    evaluate: Evaluate, make_policy: MakePolicy, champion: dict[str, object], odd: str
) -> None:
    with pytest.raises(EvidenceError, match=odd):
        judge(candidate=evaluate(DICES), champion=evaluate(**champion), policy=make_policy())


def test_one_case_with_two_references_is_not_compared(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    told = "case case_0003: the reference of L1 has 1000000 voxels with 'new' and 999999 with 'old'; expected the same"
    with pytest.raises(EvidenceError, match=told):
        judge(
            candidate=evaluate(DICES, name="new"), champion=evaluate(DICES, name="old", smaller=[3]),
            policy=make_policy(),
        )  # fmt: skip
    told = "case case_0003: the reference of S1 has 0 voxels with 'new' and 1000000 with 'old'"
    with pytest.raises(EvidenceError, match=told):
        more = evaluate(DICES, name="old", of={3: (20, 21, 22, 23, 24, 25)})
        judge(candidate=evaluate(DICES, name="new"), champion=more, policy=make_policy())


def test_one_case_of_two_patients_is_not_compared(
    counted: Counted, evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    ours = [f"p{number}" for number in range(12)]
    candidate, other = evaluate(DICES, patients=ours), evaluate(DICES, patients=[*ours[:-1], "somebody"], name="old")
    told = "case case_0011: its patient is 'p11' with 'model' and 'somebody' with 'old'; expected the same patient"
    with pytest.raises(EvidenceError, match=told):
        judge(candidate=candidate, champion=other, policy=make_policy())
    assert judge(candidate=candidate, champion=counted(other), policy=make_policy()).outcome == "pass"


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_an_evaluation_that_contradicts_itself_is_refused(
    evaluate: Evaluate, make_policy: MakePolicy, side: str
) -> None:
    """Edited with its summary made to fit."""
    sound = evaluate(DICES)
    scans = (sound.scans[0].model_copy(update={"mean_dice": 0.99}), *sound.scans[1:])
    sides = {"candidate": sound, "champion": sound}
    sides[side] = Evaluation(name="edited", scans=scans, summary=summarize(scans))
    with pytest.raises(EvidenceError, match="'edited', case case_0000: mean Dice is 0.99, but 0.8 by its labels"):
        judge(**sides, policy=make_policy())


def test_scans_whose_names_alone_are_not_known_are_refused(
    counted: Counted, evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    """Else those that went wrong could be left out of the rates."""
    sound = evaluate(DICES)
    scans = (*sound.scans[:-1], counted(sound).scans[-1])
    with pytest.raises(EvidenceError, match="case case_0011: whether its levels are right is not known"):
        judge(
            candidate=Evaluation(name="m", scans=scans, summary=summarize(scans)), champion=None, policy=make_policy()
        )


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_an_evaluation_whose_summary_was_edited_is_refused(
    evaluate: Evaluate, make_policy: MakePolicy, side: str
) -> None:
    sound = evaluate(DICES)
    better = sound.model_copy(update={"summary": sound.summary.model_copy(update={"dice_scan_mean": 0.99})})
    sides = {"candidate": sound, "champion": sound, side: better}
    with pytest.raises(EvidenceError, match="its summary does not follow from its 12 scans"):
        judge(**sides, policy=make_policy())


def test_a_case_that_counts_twice_is_refused(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    once = evaluate(DICES)
    scans = (*once.scans, once.scans[0])
    with pytest.raises(EvidenceError, match="case case_0000 is there 2 times"):
        judge(
            candidate=Evaluation(name="m", scans=scans, summary=summarize(scans)), champion=None, policy=make_policy()
        )


def test_the_same_inputs_give_the_same_bytes(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    def text() -> str:
        candidate = evaluate(noise(0.05), labels=range(15, 26))
        return judge(candidate=candidate, champion=evaluate(DICES, labels=range(15, 26)), policy=make_policy()).text()

    first = text()
    np.random.seed(1)
    assert text() == first


def test_the_order_of_the_scans_changes_nothing_but_their_digest(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    floors = Floors(
        dice_scan_mean=0.7, id_rate=0.5, wrong_level_rate_at_most=0.5, region_dice={"L1-L5": 0.7},
        extra_vertebra_rate_at_most=0.5, every_level_dice=0.5,
    )  # fmt: skip
    patients = [f"p{number // 2}" for number in range(12)]
    candidate = evaluate([0.8, *noise(0.05)[1:11], 0.8], patients=patients, shifted=range(7), extra=range(3, 10))
    champion = evaluate(DICES, patients=patients)

    def told(*evaluations: Evaluation) -> dict[str, object]:
        ours, theirs = evaluations
        verdict = judge(candidate=ours, champion=theirs, policy=make_policy(floors=floors))
        return verdict.model_dump(mode="json", exclude={"evaluation", "champion"})

    def mixed(evaluation: Evaluation) -> Evaluation:
        scans = (*evaluation.scans[5:], *evaluation.scans[4::-1])
        return Evaluation(name=evaluation.name, scans=scans, summary=summarize(scans))

    assert told(mixed(candidate), mixed(champion)) == told(candidate, champion)


def test_a_difference_without_spread_says_nothing_of_what_could_be_seen(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    verdict = judge(candidate=evaluate([0.8] * 6), champion=evaluate([0.9] * 6), policy=make_policy())
    assert verdict.summary.startswith("fail: mean Dice against the model in use is -0.1")
    assert "smallest difference" not in verdict.summary


@pytest.mark.parametrize("dices", [[], [0.5], DICES])
def test_a_verdict_is_strict_json_and_reads_as_it_was(
    evaluate: Evaluate, make_policy: MakePolicy, dices: list[float]
) -> None:
    verdict = judge(candidate=evaluate(dices), champion=evaluate(dices), policy=make_policy())

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(verdict.text(), parse_constant=refuse)
    assert Verdict.from_text(verdict.text(), where="verdict") == verdict


def test_a_verdict_quotes_what_it_was_made_of(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    candidate, policy = evaluate(DICES), make_policy(version=3)
    verdict = judge(candidate=candidate, champion=None, policy=policy)
    assert (verdict.evaluation, verdict.policy) == (candidate.digest, policy.digest)
    assert (verdict.policy_name, verdict.policy_version) == ("strict", 3)
    changed = judge(candidate=candidate, champion=None, policy=make_policy(minimum_scans=5))
    assert changed.digest != verdict.digest


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"required_regions": ["L6"]}, "unknown region L6; expected one of C1-C4"),
        ({"floors": {"dice_scan_mean": 0.5, "region_dice": {"L6": 0.5}}}, "unknown region L6"),
        ({"floors": {"dice_scan_mean": 1.5}}, "floors.dice_scan_mean"),
        ({"floors": {"dice_scan_mean": float("nan")}}, "floors.dice_scan_mean"),
        ({"minimum_scans": 1}, "minimum_scans"),
        ({"required_levels": ["L6"]}, "unknown level L6; expected one of C1"),
        ({"floors": {"dice_scan_mean": 0.5, "level_dice": {"L6": 0.5}}}, "unknown level L6; expected one of C1"),
        ({"floors": {"dice_scan_mean": 0.5, "every_level_dice": 50}}, "floors.every_level_dice"),
        ({"version": 0}, "version"),
        ({"champion": {"resamples": 9999}}, "champion.resamples"),
        ({"champion": {"rule": "better"}}, "champion.rule"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(make_policy: MakePolicy, change: dict[str, object], told: str) -> None:
    with pytest.raises(SpinelineError, match=told):
        Policy.parse({**make_policy().model_dump(mode="json"), **change}, where="policy")
