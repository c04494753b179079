"""Paired statistics of two evaluations on the same scans; the patient is what is resampled, never the vertebra."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from model_registry.policy import AgainstChampion
from spine.values import Value

_POWER = 0.8


class PairedDifference(Value):
    """The mean of candidate minus champion over patients, its interval, and what this many can see."""

    patients: int
    mean: float | None
    low: float | None
    high: float | None
    detectable: float | None
    """Smallest mean difference that a test of this size and spread sees with a power of 0.8."""


def paired_difference(differences: Sequence[float], *, settings: AgainstChampion) -> PairedDifference:
    """Return the mean difference with its BCa bootstrap interval (Efron 1987), two-sided at the confidence.

    The interval is None with fewer than two patients.
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    mean = float(values.mean()) if count else None
    if mean is None or count < 2:
        return PairedDifference(patients=count, mean=mean, low=None, high=None, detectable=None)
    spread = float(values.std(ddof=1))
    low = high = mean
    if spread > 1e-12:  # without spread every resample has the same mean
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=settings.resamples,
            confidence_level=settings.confidence,
            method="BCa",
            rng=np.random.default_rng(settings.seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    quantiles = stats.norm.ppf((1 + settings.confidence) / 2) + stats.norm.ppf(_POWER)
    return PairedDifference(
        patients=count,
        mean=_rounded(mean),
        low=_rounded(low),
        high=_rounded(high),
        detectable=_rounded(float(quantiles) * spread / math.sqrt(count)),
    )


def _rounded(value: float) -> float:
    """Keep nine digits: beyond them platforms differ, and a verdict's bytes must not."""
    return round(value, 9)
