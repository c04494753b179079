"""Paired differences: the interval that scipy gives, what degenerate samples give, and how often it is right."""

import numpy as np
import pytest
from scipy import stats

from model_registry.policy import AgainstChampion
from model_registry.statistics import PairedDifference, paired_difference

SETTINGS = AgainstChampion(resamples=1000, confidence=0.95, seed=7)


@pytest.mark.parametrize("count", [2, 5, 30, 200])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_is_scipys_bca_with_the_policys_seed(count: int, confidence: float) -> None:
    values = np.random.default_rng(count).gamma(2.0, 0.02, count) - 0.03
    settings = SETTINGS.model_copy(update={"confidence": confidence, "resamples": 2000})
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, confidence_level=confidence, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    found = paired_difference(list(values), settings=settings)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-8, nan_ok=True)
    assert found.mean == pytest.approx(values.mean(), abs=1e-8)
    assert found.patients == count


def test_more_confidence_is_a_wider_interval_around_the_mean() -> None:
    values = list(np.random.default_rng(0).normal(0.01, 0.05, 40))
    narrow, wide = (
        paired_difference(values, settings=SETTINGS.model_copy(update={"confidence": confidence}))
        for confidence in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high  # type: ignore[operator]


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3])
def test_without_spread_the_interval_is_the_mean(value: float) -> None:
    found = paired_difference([value] * 12, settings=SETTINGS)
    assert (found.mean, found.low, found.high) == (value, value, value)
    assert found.detectable == 0


@pytest.mark.parametrize(("values", "mean"), [([], None), ([0.2], 0.2)])
def test_fewer_than_two_scans_have_no_interval(values: list[float], mean: float | None) -> None:
    assert paired_difference(values, settings=SETTINGS) == PairedDifference(
        patients=len(values), mean=mean, low=None, high=None, detectable=None
    )


@pytest.mark.parametrize("outlier", [-0.9, 0.9])
def test_one_scan_that_differs_among_equal_ones_still_gives_an_interval(outlier: float) -> None:
    found = paired_difference([0.0] * 19 + [outlier], settings=SETTINGS)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= outlier / 20 <= found.high


def test_the_same_differences_give_the_same_numbers_whatever_ran_before() -> None:
    values = list(np.random.default_rng(3).normal(0, 0.05, 25))
    first = paired_difference(values, settings=SETTINGS)
    np.random.seed(0)
    np.random.random(100)
    assert paired_difference(values, settings=SETTINGS) == first
    assert paired_difference(values, settings=SETTINGS.model_copy(update={"seed": 8})) != first


def test_four_times_the_scans_see_half_the_difference() -> None:
    values = [-0.1, 0.1] * 10
    few, many = (paired_difference(values * times, settings=SETTINGS).detectable for times in (1, 4))
    assert few is not None
    assert many == pytest.approx(few / 2, rel=0.03)


def test_the_detectable_difference_is_seen_in_four_of_five_experiments() -> None:
    """Power by simulation with a z test of known spread, the formula's own assumption."""
    random, count, spread = np.random.default_rng(5), 400, 0.1
    values = random.normal(0, spread, count)
    detectable = paired_difference(list(values), settings=SETTINGS).detectable
    means = random.normal(detectable, spread / np.sqrt(count), 20_000)
    seen = np.mean(np.abs(means) > stats.norm.ppf(0.975) * spread / np.sqrt(count))
    assert seen == pytest.approx(0.8, abs=0.06)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 draws of 30 skewed differences; a 95 % interval of so few misses somewhat more often than it says."""
    random, covered = np.random.default_rng(11), 0
    for _ in range(200):
        found = paired_difference(list(random.gamma(4.0, 0.01, 30) - 0.04), settings=SETTINGS)
        covered += found.low <= 0 <= found.high  # type: ignore[operator]
    assert 0.88 <= covered / 200 <= 0.99
