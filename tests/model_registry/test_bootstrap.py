"""Bootstrap intervals: BCa as scipy gives it, Student's t as scipy gives it, and the outer ends of the two."""

import numpy as np
import pytest
from scipy import stats

from model_registry.bootstrap import Bootstrap, exact_mean, same_everywhere

RESAMPLES = 10_000


def drawn(count: int, columns: int = 1) -> np.ndarray:
    """Skewed values, multiples of 2**-20: scipy's sums of them are exact, so both see the same ties."""
    return np.round((np.random.default_rng(count).gamma(2.0, 0.02, (count, columns)) - 0.03) * 2**20) / 2**20


def bootstrap(confidence: float = 0.95, seed: int = 7) -> Bootstrap:
    return Bootstrap(resamples=RESAMPLES, confidence=confidence, seed=seed)


def scipys(values: np.ndarray, confidence: float = 0.95, seed: int = 7) -> tuple[float, float]:
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=confidence, method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return found.low, found.high


@pytest.mark.parametrize("count", [2, 5, 30, 200, 450])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bca_is_scipys_for_the_same_seed(count: int, confidence: float) -> None:
    values = drawn(count)
    low, high = bootstrap(confidence).bca(values)
    assert (low[0], high[0]) == pytest.approx(scipys(values[:, 0], confidence), abs=1e-10)


def test_bca_is_scipys_where_most_resamples_tie() -> None:
    values = np.random.default_rng(1).integers(-2, 3, 40) / 8
    low, high = bootstrap().bca(values[:, np.newaxis])
    assert (low[0], high[0]) == pytest.approx(scipys(values), abs=1e-10)


def test_resamples_drawn_in_parts_are_those_drawn_at_once() -> None:
    """3,000 patients are more than one part holds."""
    values = drawn(3000)
    low, high = bootstrap().bca(values)
    assert (low[0], high[0]) == pytest.approx(scipys(values[:, 0]), abs=1e-10)


def test_columns_get_the_interval_that_each_gets_alone() -> None:
    values = drawn(30, columns=4)
    together = np.array(bootstrap().interval(values))
    alone = np.array([bootstrap().interval(values[:, [column]]) for column in range(4)])[..., 0].T
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("count", [5, 30, 200])
def test_the_interval_has_the_outer_ends_of_bca_and_students_t(count: int) -> None:
    values = drawn(count)[:, 0]
    student = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    bca = scipys(values)
    low, high = bootstrap().interval(values[:, np.newaxis])
    expected = min(bca[0], student[0]), max(bca[1], student[1])
    assert (low[0], high[0]) == pytest.approx(expected, abs=1e-10)


def test_a_column_without_spread_has_its_mean_at_both_ends() -> None:
    values = np.column_stack([np.full(12, 0.3), drawn(12)[:, 0]])
    low, high = bootstrap().interval(values)
    assert (low[0], high[0]) == pytest.approx((0.3, 0.3), abs=1e-10)
    assert low[1] < values[:, 1].mean() < high[1]


def test_the_order_of_the_patients_does_not_change_a_mean() -> None:
    values = drawn(200)
    assert exact_mean(values) == exact_mean(values[::-1])


@pytest.mark.parametrize(("value", "kept"), [(-1e-12, "0.0"), (0.1234567894, "0.123456789"), (-0.5, "-0.5")])
def test_nine_digits_are_kept_and_no_negative_zero(value: float, kept: str) -> None:
    assert str(same_everywhere(value)) == kept
