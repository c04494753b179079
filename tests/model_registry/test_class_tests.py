"""Claims by class and secondary tests: what they say, and that they decide nothing."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from model_registry.class_tests import class_claims, holm, secondary_tests, signed_rank_p
from model_registry.gate import judge
from model_registry.pairing import paired_scans
from model_registry.policy import AgainstChampion, Floors, Policy
from model_registry.statistics import bootstrap_of
from model_registry.verdict import ClassClaim
from spine.metrics.scores import Evaluation

Evaluate = Callable[..., Evaluation]
DICES = [0.80 + 0.005 * number for number in range(24)]
SETTINGS = AgainstChampion(minimum_region_patients=4)


def claims(candidate: Evaluation, champion: Evaluation) -> dict[int, ClassClaim]:
    found = class_claims(paired_scans(candidate, champion), settings=SETTINGS, bootstrap=bootstrap_of(SETTINGS))
    return {claim.label: claim for claim in found}


@pytest.mark.parametrize(("step", "said"), [(0.001, "better"), (-0.001, "worse"), (0.0, None)])
def test_every_class_that_moves_one_way_is_claimed(evaluate: Evaluate, step: float, said: str | None) -> None:
    candidate = evaluate([dice + step * (number + 1) for number, dice in enumerate(DICES)])
    found = claims(candidate, evaluate(DICES))
    assert list(found) == [20, 21, 22, 23, 24]
    assert {claim.claim for claim in found.values()} == {said}
    assert all(claim.patients == 24 for claim in found.values())


def test_classes_that_few_patients_show_are_not_claimed(evaluate: Evaluate) -> None:
    of = dict.fromkeys(range(3), (24, 25))
    assert 25 not in claims(evaluate(DICES, of=of), evaluate(DICES, of=of))


def test_a_difference_that_only_chance_over_many_classes_explains_is_no_claim(evaluate: Evaluate) -> None:
    """Two of five patients' worth of evidence: below 0.05 alone, above it as one of five classes."""
    steps = [0.01 * (number + 1) for number in range(6)]
    candidate = evaluate([dice + step for dice, step in zip(DICES, steps, strict=False)])
    found = claims(candidate, evaluate(DICES[:6]))
    assert all(claim.p_value < 0.05 < claim.p_holm for claim in found.values())  # type: ignore[operator]
    assert {claim.claim for claim in found.values()} == {None}


def test_ranks_that_say_better_without_a_better_mean_are_no_claim(evaluate: Evaluate) -> None:
    """Slightly better in most scans, lost in a few: the mean is what a user gets."""
    candidate = evaluate([dice + 0.01 for dice in DICES[:21]] + [0.1] * 3)
    found = claims(candidate, evaluate(DICES))[20]
    assert found.p_holm is not None and found.difference.mean is not None
    assert found.difference.mean < 0 and found.claim is None


def test_holms_correction_is_that_of_his_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_signed_rank_test_is_scipys_and_blind_to_rounding() -> None:
    values = np.random.default_rng(1).normal(0.01, 0.03, 30)
    assert signed_rank_p(list(values)) == pytest.approx(stats.wilcoxon(values).pvalue, abs=1e-9)
    for values in ([0.1, 0.1, -0.2, 0.3, 0.0], [0.1, 0.2, 0.3], [0.1, 0.1, 0.0] * 9, list(range(1, 60))):
        assert signed_rank_p(values) == pytest.approx(stats.wilcoxon(values).pvalue, abs=1e-9)
    tied = [0.3 - 0.2, 0.1, -0.1, 0.2 - 0.1]
    assert signed_rank_p(tied) == signed_rank_p([0.1, 0.1, -0.1, 0.1])
    assert signed_rank_p([0.0, 1e-17]) == 1.0


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 8), (5, 5)])
def test_mcnemar_counts_the_scans_that_only_one_model_gets_right(evaluate: Evaluate, lost: int, won: int) -> None:
    candidate = evaluate([0.4] * lost + [0.9] * won + [0.9] * 10)
    champion = evaluate([0.9] * lost + [0.4] * won + [0.9] * 10)
    _, mcnemar = secondary_tests(paired_scans(candidate, champion))
    assert mcnemar.p_value == pytest.approx(stats.binomtest(won, won + lost).pvalue if won + lost else 1.0)
    assert mcnemar.patients_or_scans == lost + won + 10
    assert f"right with the candidate only: {won}; with the model in use only: {lost}" in mcnemar.said


def test_mcnemar_counts_scans_of_one_patient_one_by_one_as_the_rates_do(evaluate: Evaluate) -> None:
    patients = ["ann", "ann", "ann", "ben"]
    candidate = evaluate([0.9, 0.9, 0.4, 0.9], patients=patients)
    champion = evaluate([0.4, 0.4, 0.9, 0.9], patients=patients)
    _, mcnemar = secondary_tests(paired_scans(candidate, champion))
    assert mcnemar.said.startswith(
        "of 4 scans, those of one patient counted one by one, right with the candidate only: 2;"
    )
    ours, theirs = candidate.summary.all_correct_rate, champion.summary.all_correct_rate
    assert ours is not None and theirs is not None
    assert ours - theirs == (2 - 1) / mcnemar.patients_or_scans


def test_claims_and_secondary_tests_decide_nothing(evaluate: Evaluate, make_policy: Callable[..., Policy]) -> None:
    """Significantly worse everywhere, yet within the margin."""
    policy = make_policy(floors=Floors(dice_scan_mean=0.5), against={"margin_overall": 0.03, "margin_region": 0.03})
    worse = evaluate([dice - 0.01 - 0.0001 * number for number, dice in enumerate(DICES)])
    verdict = judge(candidate=worse, champion=evaluate(DICES), policy=policy)
    assert verdict.secondary[0].p_value is not None and verdict.secondary[0].p_value < 0.01
    assert {claim.claim for claim in verdict.claims} == {"worse"}
    assert verdict.outcome == "pass"
