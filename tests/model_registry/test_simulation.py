"""Statistics tested, not believed: coverage of the intervals and errors of the gate over 2,000 simulated test sets."""

from collections.abc import Callable

import numpy as np
import pytest

from model_registry.gate import judge
from model_registry.policy import AgainstChampion, Floors, Policy
from model_registry.simulation import DISTRIBUTIONS, GateDraws, coverage, draw_gate
from model_registry.statistics import bootstrap_of
from spine.metrics.scores import Evaluation

DRAWS = 2000
SETTINGS = AgainstChampion()
PATIENTS = [30, 100, 200]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_true_mean_of_each_distribution_is_as_stated(name: str) -> None:
    draw, truth = DISTRIBUTIONS[name]
    assert draw(np.random.default_rng(1), (1000, 400)).mean() == pytest.approx(truth, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("patients", PATIENTS)
@pytest.mark.parametrize("name", ["Dice, a tenth misnamed", "difference, unrelated models"])
def test_a_95_per_cent_interval_covers_between_93_and_97_per_cent(name: str, patients: int) -> None:
    draw, truth = DISTRIBUTIONS[name]
    found = coverage(draw, truth=truth, patients=patients, draws=DRAWS, bootstrap=bootstrap_of(SETTINGS))
    assert 0.93 <= found["covered"] <= 0.97, found


@pytest.mark.slow
@pytest.mark.parametrize("patients", PATIENTS)
@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name.startswith("difference")])
def test_differences_of_related_models_are_never_covered_less(name: str, patients: int) -> None:
    """Where one scan in thirty decides, intervals may be too wide (docs/gate.md), but not too short."""
    draw, truth = DISTRIBUTIONS[name]
    found = coverage(draw, truth=truth, patients=patients, draws=DRAWS, bootstrap=bootstrap_of(SETTINGS))
    assert found["covered"] >= 0.93
    assert found["above"] <= 0.035


@pytest.mark.slow
@pytest.mark.parametrize("misnamed", [0.0, 0.1])
@pytest.mark.parametrize("patients", PATIENTS)
def test_the_gate_errs_in_at_most_one_of_twenty(patients: int, misnamed: float) -> None:
    same = draw_gate(patients=patients, draws=DRAWS, settings=SETTINGS, misnamed=misnamed)
    assert same.rates(difference=0)["fail"] <= 0.05
    assert same.rates(difference=-SETTINGS.margin_overall)["pass"] <= 0.05
    superior = SETTINGS.model_copy(update={"rule": "superior"})
    assert GateDraws(same.low, same.high, superior).rates(difference=0)["pass"] <= 0.05
    loose = SETTINGS.model_copy(update={"margin_overall": SETTINGS.margin_region})
    assert GateDraws(same.low, same.high, loose).rates(difference=-SETTINGS.margin_region)["pass"] <= 0.05


@pytest.mark.parametrize("difference", [-0.04, -0.01, 0.0, 0.02])
def test_the_simulation_decides_as_the_gate_does(
    evaluate: Callable[..., Evaluation], make_policy: Callable[..., Policy], difference: float
) -> None:
    """One rule, all scans alike in every region: the interval moves with the values."""
    policy, values = make_policy(floors=Floors(dice_scan_mean=0)), np.random.default_rng(8).normal(0, 0.02, 12)
    champion = evaluate([0.8] * 12, labels=range(1, 26))
    candidate = evaluate([float(0.8 + value + difference) for value in values], labels=range(1, 26))
    low, high = bootstrap_of(policy.champion).interval(np.tile(values[:, np.newaxis], 8))
    simulated = GateDraws(low[:, np.newaxis], high[:, np.newaxis], policy.champion).rates(difference=difference)
    outcome = judge(candidate=candidate, champion=champion, policy=policy).outcome
    assert simulated == {"pass": float(outcome == "pass"), "fail": float(outcome == "fail")}
