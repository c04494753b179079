"""Two trainings of one recipe: which margins exceed the noise, which don't, and which can't be told."""

from collections.abc import Callable

import numpy as np
import pytest

from model_registry.errors import EvidenceError
from model_registry.noise import MarginNoise, measure_noise
from model_registry.policy import Policy
from spine.metrics.scores import Evaluation

Evaluate = Callable[..., Evaluation]
MakePolicy = Callable[..., Policy]
DICES = [0.85] * 20


def retrained(spread: float) -> list[float]:
    drawn = 0.85 + np.random.default_rng(6).normal(0, spread, 20)
    return [float(dice) for dice in np.clip(drawn, 0, 1)]


def by_name(margins: tuple[MarginNoise, ...]) -> dict[str, MarginNoise]:
    return {margin.name: margin for margin in margins}


@pytest.mark.parametrize(
    ("spread", "overall", "region"), [(0.01, True, True), (0.03, False, True), (0.2, False, False)]
)
def test_a_margin_exceeds_small_noise_and_not_large(
    evaluate: Evaluate, make_policy: MakePolicy, spread: float, overall: bool, region: bool
) -> None:
    found = measure_noise(evaluate(DICES), evaluate(retrained(spread)), make_policy())
    margins = by_name(found.margins)
    assert list(margins) == ["mean Dice", "Dice of L1-L5"]
    assert (margins["mean Dice"].margin, margins["Dice of L1-L5"].margin) == (0.01, 0.03)
    assert (margins["mean Dice"].exceeded, margins["Dice of L1-L5"].exceeded) == (overall, region)
    assert found.within_margins is (overall and region)
    assert ("within it: mean Dice" in found.summary) is not overall


def test_the_noise_is_the_farther_end_of_the_interval(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    found = measure_noise(evaluate(DICES), evaluate(retrained(0.03)), make_policy()).margins[0]
    assert found.difference.low is not None and found.difference.high is not None
    assert found.noise == max(abs(found.difference.low), abs(found.difference.high))


def test_which_training_comes_first_changes_the_sign_only(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    one, other = evaluate(DICES, name="a"), evaluate(retrained(0.03), name="b")
    forth, back = measure_noise(one, other, make_policy()), measure_noise(other, one, make_policy())
    assert forth.margins[0].difference.mean == -back.margins[0].difference.mean  # type: ignore[operator]
    assert (forth.first, forth.second) == (back.second, back.first) == ("a", "b")


def test_a_superior_rule_is_measured_by_the_margin_it_does_not_use(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    policy = make_policy(against={"rule": "superior"})
    assert measure_noise(evaluate(DICES), evaluate(retrained(0.01)), policy).margins[0].margin == 0.01


def test_a_region_of_few_patients_is_named(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    of = dict.fromkeys(range(3), (24, 25))
    found = measure_noise(evaluate(DICES, of=of), evaluate(retrained(0.01), of=of), make_policy())
    assert found.not_compared == ("Dice of S1",)
    assert found.summary.endswith("not compared, too few patients: Dice of S1")


def test_one_patient_tells_nothing(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    found = measure_noise(evaluate([0.8]), evaluate([0.9]), make_policy())
    assert found.margins[0].exceeded is None and not found.within_margins


def test_one_evaluation_twice_and_different_scans_are_refused(evaluate: Evaluate, make_policy: MakePolicy) -> None:
    with pytest.raises(EvidenceError, match="have the same scores; expected two trainings"):
        measure_noise(evaluate(DICES), evaluate(DICES), make_policy())
    with pytest.raises(EvidenceError, match="different scans"):
        measure_noise(evaluate(DICES), evaluate(DICES[1:]), make_policy())


def test_other_references_and_scores_that_contradict_themselves_are_refused(
    evaluate: Evaluate, make_policy: MakePolicy
) -> None:
    with pytest.raises(EvidenceError, match="case case_0004: the reference of L1 has 1000000 voxels .* 999999 with"):
        measure_noise(evaluate(DICES), evaluate(retrained(0.01), smaller=[4]), make_policy())
    sound = evaluate(retrained(0.01))
    wrong = sound.scans[0].model_copy(update={"mean_dice": 0.99})
    with pytest.raises(EvidenceError, match="case case_0000: mean Dice is 0.99"):
        measure_noise(evaluate(DICES), sound.model_copy(update={"scans": (wrong, *sound.scans[1:])}), make_policy())
