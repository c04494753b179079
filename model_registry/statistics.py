"""Paired differences and rates with their intervals; the patient is the unit, never the vertebra."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import special

from model_registry.bootstrap import Bootstrap, Columns, exact_mean, same_everywhere
from model_registry.policy import AgainstChampion
from spine.values import Value

_POWER = 0.8
MOST_CASES = 10_000
"""More cases than this are no answer to how many would decide."""

Interval = tuple[float, float]


class PairedDifference(Value):
    """The mean of candidate minus champion over patients, its interval, and what this many can see."""

    patients: int
    mean: float | None
    low: float | None
    high: float | None
    detectable: float | None
    """Smallest mean difference that a test of this size and spread sees with a power of 0.8."""


def bootstrap_of(settings: AgainstChampion) -> Bootstrap:
    """Return the bootstrap that a policy asks for."""
    return Bootstrap(resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed)


def paired_difference(
    differences: Sequence[float], *, settings: AgainstChampion, bootstrap: Bootstrap | None = None
) -> PairedDifference:
    """Return the mean difference, one a patient and within -1..1, with its two-sided interval at the confidence.

    The interval, too, stays within -1..1: Student's t doesn't know that scores are shares.
    The interval is None with fewer than two patients. ``bootstrap`` shares the resamples of one verdict.
    """
    return paired_differences([differences], settings=settings, bootstrap=bootstrap or bootstrap_of(settings))[0]


def paired_differences(
    samples: Sequence[Sequence[float]], *, settings: AgainstChampion, bootstrap: Bootstrap
) -> list[PairedDifference]:
    """Return ``paired_difference`` of each sample; those of as many patients are resampled together."""
    found: list[PairedDifference | None] = [None] * len(samples)
    for count in {len(sample) for sample in samples}:
        alike = [index for index, sample in enumerate(samples) if len(sample) == count]
        values = np.array([samples[index] for index in alike], dtype=np.float64).T
        for index, difference in zip(alike, _differences(values, settings, bootstrap), strict=True):
            found[index] = difference
    return [difference for difference in found if difference is not None]


def _differences(values: Columns, settings: AgainstChampion, bootstrap: Bootstrap) -> Iterator[PairedDifference]:
    count, columns = values.shape
    if count < 2:
        for column in range(columns):
            mean = same_everywhere(values[0, column]) if count else None
            yield PairedDifference(patients=count, mean=mean, low=None, high=None, detectable=None)
        return
    quantiles = special.ndtri((1 + settings.confidence) / 2) + special.ndtri(_POWER)
    detectable = quantiles * values.std(axis=0, ddof=1) / math.sqrt(count)
    for mean, low, high, seen in zip(exact_mean(values), *bootstrap.interval(values), detectable, strict=True):
        yield PairedDifference(
            patients=count,
            mean=same_everywhere(mean),
            low=same_everywhere(max(-1.0, low)),
            high=same_everywhere(min(1.0, high)),
            detectable=same_everywhere(seen),
        )


def decided(difference: PairedDifference, bound: float) -> bool | None:
    """Return True where the whole interval lies above ``bound``, False where none of it does, else None."""
    if difference.low is None or difference.high is None:
        return None
    if difference.low > bound:
        return True
    return False if difference.high <= bound else None


def more_patients(difference: PairedDifference, bound: float) -> int | None:
    """Return how many more patients would bring an undecided interval to one side of ``bound``.

    The mean and the spread are taken to stay as they are, and the interval to shrink with the root of the
    number of patients. None where the mean lies on the bound, or where it would take more than 10,000.
    """
    if difference.mean is None or difference.low is None or difference.high is None:
        return None
    distance = abs(difference.mean - bound)
    half = difference.mean - difference.low if difference.mean > bound else difference.high - difference.mean
    if not distance or difference.patients * (half / distance) ** 2 > MOST_CASES + difference.patients:
        return None
    return max(1, math.floor(difference.patients * (half / distance) ** 2) + 1 - difference.patients)


def mean_interval(values: Sequence[float], *, bootstrap: Bootstrap) -> Interval | None:
    """Return the interval of a mean of shares (0-1), one a patient; None with fewer than two patients."""
    if len(values) < 2:
        return None
    low, high = bootstrap.interval(np.asarray(values, dtype=np.float64)[:, np.newaxis])
    return same_everywhere(max(0.0, low[0])), same_everywhere(min(1.0, high[0]))


def rate_interval(hits: Sequence[int], trials: Sequence[int], *, confidence: float) -> Interval | None:
    """Return Wilson's score interval (1927) of ``sum(hits) / sum(trials)``, both one a patient.

    Vertebrae of one patient are no independent evidence: the number of trials is the effective one, which
    gives the variance between patients (Korn and Graubard 1998; Dean and Pagano 2015), never more than there
    are. Without any variance it is all of them. None with fewer than two patients.
    """
    each = [(hit, trial) for hit, trial in zip(hits, trials, strict=True) if trial]
    patients, total = len(each), sum(trial for _, trial in each)
    if patients < 2:
        return None
    rate = sum(hit for hit, _ in each) / total
    squares = sum((hit - rate * trial) ** 2 for hit, trial in each)
    variance = squares * patients / (patients - 1) / total**2
    effective = min(rate * (1 - rate) / variance, total) if variance > 1e-12 else total
    z = float(special.ndtri((1 + confidence) / 2))
    centre = (rate + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * math.sqrt(rate * (1 - rate) / effective + z**2 / (4 * effective**2))
    return same_everywhere(max(0.0, centre - half)), same_everywhere(min(1.0, centre + half))
