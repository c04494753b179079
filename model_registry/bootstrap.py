"""Bootstrap intervals of a mean over patients, from resamples that every score of one verdict shares."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Columns = NDArray[np.float64]

_QUANTUM = 2.0**-36
"""Scores are whole multiples of this (1.5e-11): sums of up to 2**17 scores within -1..1 are then exact in
double precision in whatever order they are added, so ties and intervals are the same on every platform."""
_BATCH = 2_000_000


class Bootstrap:
    """Intervals at one confidence from the resamples that one seed draws; patients are what is drawn."""

    def __init__(self, *, resamples: int, confidence: float, seed: int) -> None:
        self._resamples, self._confidence, self._seed = resamples, confidence, seed
        self._drawn: dict[int, NDArray[np.uint32]] = {}

    def bca(self, values: Columns) -> tuple[Columns, Columns]:
        """Return the lower and upper ends of the BCa interval of each column's mean (Efron 1987).

        ``values`` has shape (patients, columns), within -1..1, at least two patients and no column without
        spread. It is what ``scipy.stats.bootstrap(method="BCa")`` gives for the same seed.
        """
        fixed = _whole(values)
        sums, total = self._sums(fixed), fixed.sum(axis=0)
        # Ties count half, as scipy counts them.
        below = ((sums < total[:, np.newaxis]).mean(axis=1) + (sums <= total[:, np.newaxis]).mean(axis=1)) / 2
        apart = fixed - total / len(fixed)
        acceleration = (apart**3).sum(axis=0) / (6 * (apart**2).sum(axis=0) ** 1.5)
        bias = special.ndtri(below)
        sums.sort(axis=1)
        tail = special.ndtri((1 - self._confidence) / 2)
        low, high = (
            _quantile(sums, special.ndtr(bias + (bias + end) / (1 - acceleration * (bias + end))))
            for end in (tail, -tail)
        )
        return low * _QUANTUM / len(fixed), high * _QUANTUM / len(fixed)

    def interval(self, values: Columns) -> tuple[Columns, Columns]:
        """Return the ends of each column's interval: the outer ends of BCa's and of Student's t interval.

        BCa alone follows the skew of Dice, but takes its acceleration from the same few misnamed scans that
        make the spread, and is too short for paired differences: of 30 it covers 77 to 87 % (docs/gate.md).
        Student's t covers those, and misses skewed means. Without spread both ends are the mean.
        """
        fixed = _whole(values)
        mean = exact_mean(values)
        low, high = mean.copy(), mean.copy()
        spread = np.ptp(fixed, axis=0) > 0
        if spread.any():
            bca_low, bca_high = self.bca(values[:, spread])
            half = self._student(values[:, spread])
            low[spread] = np.minimum(bca_low, mean[spread] - half)
            high[spread] = np.maximum(bca_high, mean[spread] + half)
        return low, high

    def _student(self, values: Columns) -> Columns:
        count = len(values)
        quantile = special.stdtrit(count - 1, (1 + self._confidence) / 2)
        half: Columns = quantile * values.std(axis=0, ddof=1) / math.sqrt(count)
        return half

    def _sums(self, fixed: Columns) -> Columns:
        """Return each column's sum in each resample, shape (columns, resamples)."""
        counts = self._counts(len(fixed))
        step = max(1, _BATCH // len(fixed))
        sums = np.empty((fixed.shape[1], self._resamples))
        for start in range(0, self._resamples, step):
            part = counts[start : start + step].astype(np.float64)
            sums[:, start : start + step] = fixed.T @ part.T
        return sums

    def _counts(self, patients: int) -> NDArray[np.uint32]:
        """Return how often each resample draws each patient, shape (resamples, patients)."""
        if patients not in self._drawn:
            random = np.random.default_rng(self._seed)
            counts = np.empty((self._resamples, patients), dtype=np.uint32)
            step = max(1, _BATCH // patients)
            for start in range(0, self._resamples, step):
                rows = counts[start : start + step]
                drawn = random.integers(0, patients, rows.shape)
                drawn += np.arange(len(rows))[:, np.newaxis] * patients
                rows[:] = np.bincount(drawn.ravel(), minlength=rows.size).reshape(rows.shape)
            self._drawn[patients] = counts
        return self._drawn[patients]


def exact_mean(values: Columns) -> Columns:
    """Return each column's mean, the same on every platform."""
    mean: Columns = _whole(values).sum(axis=0) * _QUANTUM / len(values)
    return mean


def same_everywhere(value: float) -> float:
    """Keep nine digits and no negative zero: beyond them platforms differ, and a verdict's bytes must not."""
    return round(float(value), 9) + 0.0


def _whole(values: Columns) -> Columns:
    whole: Columns = np.rint(np.asarray(values, dtype=np.float64) / _QUANTUM)
    return whole


def _quantile(ordered: Columns, share: Columns) -> Columns:
    """Return each row's own quantile by linear interpolation between its ordered values (Hyndman and Fan, type 7)."""
    place = share * (ordered.shape[1] - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, ordered.shape[1] - 1)
    row = np.arange(len(ordered))
    found: Columns = ordered[row, lower] + (place - lower) * (ordered[row, upper] - ordered[row, lower])
    return found
