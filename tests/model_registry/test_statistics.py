"""Paired differences and rates: their intervals, what degenerate samples give, and what would decide."""

import numpy as np
import pytest
from scipy import stats

from model_registry.policy import AgainstChampion
from model_registry.statistics import (
    PairedDifference,
    bootstrap_of,
    decided,
    mean_interval,
    more_patients,
    paired_difference,
    rate_interval,
)

SETTINGS = AgainstChampion(seed=7)


def test_more_confidence_is_a_wider_interval_around_the_mean() -> None:
    values = list(np.random.default_rng(0).normal(0.01, 0.05, 40))
    narrow, wide = (
        paired_difference(values, settings=SETTINGS.model_copy(update={"confidence": confidence}))
        for confidence in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high  # type: ignore[operator]


def test_the_interval_of_a_difference_of_shares_stays_within_them() -> None:
    for sign in (1, -1):
        found = paired_difference([sign * 1.0, sign * 0.9, sign * 1.0], settings=SETTINGS)
        assert found.low is not None and found.high is not None and -1 <= found.low < found.high <= 1


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


@pytest.mark.parametrize(
    ("values", "bound", "expected"),
    [([0.02] * 5, 0.0, True), ([-0.02] * 5, 0.0, False), ([0.0] * 5, 0.0, False), ([0.0] * 5, -0.01, True),
     ([-0.1, 0.1] * 5, 0.0, None), ([0.5], 0.0, None), ([], 0.0, None)],
)  # fmt: skip
def test_the_whole_interval_above_the_bound_passes_and_none_of_it_fails(
    values: list[float], bound: float, expected: bool | None
) -> None:
    assert decided(paired_difference(values, settings=SETTINGS), bound) is expected


@pytest.mark.parametrize("bound", [-0.01, 0.012])
def test_as_many_more_patients_as_it_says_decide_and_hardly_fewer_do(bound: float) -> None:
    """A symmetric sample, repeated: its mean stays, its spread too."""
    sample = np.random.default_rng(4).normal(0, 0.06, 20)
    sample = np.concatenate([sample - sample.mean(), sample.mean() - sample])
    found = paired_difference(list(sample), settings=SETTINGS)
    more = more_patients(found, bound)
    assert decided(found, bound) is None and more is not None

    def after(count: int) -> bool | None:
        return decided(paired_difference(list(np.resize(sample, count)), settings=SETTINGS), bound)

    assert after(40 * (2 + round((40 + more) / 40))) is (bound < 0)
    assert after(40 * max(1, round((40 + more) / 40) - 2)) is None


@pytest.mark.parametrize(("mean", "bound"), [(0.0, 0.0), (-0.01, -0.01), (0.0, -1e-5)])
def test_no_number_is_given_where_none_or_no_sensible_one_would_decide(mean: float, bound: float) -> None:
    difference = PairedDifference(patients=30, mean=mean, low=mean - 0.05, high=mean + 0.05, detectable=0.07)
    assert more_patients(difference, bound) is None


@pytest.mark.parametrize(("right", "count"), [(0, 20), (20, 20), (13, 20), (70, 100)])
def test_a_rate_of_one_trial_a_patient_has_wilsons_interval(right: int, count: int) -> None:
    """The variance between patients is estimated with one degree of freedom less: one patient's worth wider."""
    hits = [1] * right + [0] * (count - right)
    trials = count if right in (0, count) else count - 1
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    found = rate_interval(hits, [1] * count, confidence=0.95)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-6 if trials == count else 0.01)


def test_vertebrae_of_one_patient_are_no_independent_evidence() -> None:
    alike, mixed = (
        rate_interval([0] * 4 + [10] * 16, [10] * 20, confidence=0.95),
        rate_interval([8] * 20, [10] * 20, confidence=0.95),
    )
    alone = rate_interval([0] * 4 + [1] * 16, [1] * 20, confidence=0.95)
    assert alike == pytest.approx(alone)
    all_trials = stats.binomtest(160, 200).proportion_ci(method="wilson")
    assert mixed == pytest.approx((all_trials.low, all_trials.high))  # every patient has the rate: no cluster
    spread = rate_interval([7, 9] * 10, [10] * 20, confidence=0.95)
    assert alike and spread and spread[1] - spread[0] < alike[1] - alike[0]


def test_one_vertebra_missed_of_many_does_not_make_the_interval_narrower() -> None:
    """11 patients of 10 vertebrae: the interval grows with the first miss, and again with the next."""
    found = [rate_interval([10 - missed] + [10] * 10, [10] * 11, confidence=0.95) for missed in (0, 1, 2, 3)]
    lows = [interval[0] for interval in found if interval]
    widths = [interval[1] - interval[0] for interval in found if interval]
    assert lows == sorted(lows, reverse=True) and widths == sorted(widths)
    all_right = stats.binomtest(110, 110).proportion_ci(method="wilson")
    assert found[0] == pytest.approx((all_right.low, all_right.high))


def test_a_rate_of_fewer_than_two_patients_has_no_interval() -> None:
    assert rate_interval([3], [4], confidence=0.95) is None
    assert rate_interval([3, 0], [4, 0], confidence=0.95) is None


def test_the_interval_of_a_mean_of_shares_stays_within_them() -> None:
    found = mean_interval([1.0] * 10 + [0.4], bootstrap=bootstrap_of(SETTINGS))
    assert found and 0 < found[0] < 0.95 and found[1] == 1.0
    assert mean_interval([0.5], bootstrap=bootstrap_of(SETTINGS)) is None
