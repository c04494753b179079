"""What the gate's statistics do on simulated scans: how often intervals cover, and how often the gate errs or sees."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model_registry.bootstrap import Bootstrap, Columns
from model_registry.differences import compared_scores
from model_registry.policy import AgainstChampion
from model_registry.statistics import bootstrap_of
from spine.labels import REGIONS

Draw = Callable[[np.random.Generator, tuple[int, int]], Columns]
"""Draws values of shape (patients, draws)."""
_BATCH = 200
_REGIONS_SHOWN = 4
_RETRAINING = 0.01
"""Standard deviation of one region's Dice in one scan from one training to the next."""


def scan_dice(random: np.random.Generator, shape: tuple[int, int], *, misnamed: float = 0.1) -> Columns:
    """Draw Dice a scan: Beta of mean 0.93 and spread 0.03, but 0.3-0.6 for the share whose levels are misnamed."""
    right = random.beta(55.8, 4.2, shape)
    return np.where(random.random(shape) < misnamed, random.uniform(0.3, 0.6, shape), right)


def mean_scan_dice(*, misnamed: float = 0.1) -> float:
    """Return the true mean of ``scan_dice``."""
    return (1 - misnamed) * 0.93 + misnamed * 0.45


def unrelated_differences(random: np.random.Generator, shape: tuple[int, int], *, misnamed: float = 0.1) -> Columns:
    """Draw differences of two models that have nothing in common but the scans' distribution; true mean 0."""
    return scan_dice(random, shape, misnamed=misnamed) - scan_dice(random, shape, misnamed=misnamed)


def related_differences(
    random: np.random.Generator, shape: tuple[int, int], *, misnamed: float = 0.1, shared: float = 0.5
) -> Columns:
    """Draw differences of two trainings of one recipe; true mean 0.

    They find the same scans easy, up to the noise of retraining, and misname the same ones for the ``shared``
    part of all that are misnamed.
    """
    return _naming(random, shape, misnamed, shared) + _retraining(random, shape)


DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "Dice, a tenth misnamed": (scan_dice, mean_scan_dice()),
    "Dice, a fifth misnamed": (partial(scan_dice, misnamed=0.2), mean_scan_dice(misnamed=0.2)),
    "Dice, a twentieth misnamed": (partial(scan_dice, misnamed=0.05), mean_scan_dice(misnamed=0.05)),
    "difference, unrelated models": (unrelated_differences, 0.0),
    "difference, half of the misnamed shared": (related_differences, 0.0),
    "difference, four fifths of the misnamed shared": (partial(related_differences, shared=0.8), 0.0),
    "difference, none misnamed": (partial(related_differences, misnamed=0.0), 0.0),
}
"""By name: what coverage was simulated for, with the true mean."""


def coverage(draw: Draw, *, truth: float, patients: int, draws: int, bootstrap: Bootstrap) -> dict[str, float]:
    """Return the share of intervals that cover ``truth``, of those above and of those below it."""
    random = np.random.default_rng(patients)
    low, high = _intervals((draw(random, (patients, size)) for size in _batches(draws)), bootstrap.interval)
    above, below = float((low > truth).mean()), float((high < truth).mean())
    return {"covered": 1 - above - below, "above": above, "below": below}


@dataclass(frozen=True)
class GateDraws:
    """Intervals of all rules against the model in use, over simulated pairs of models without a true difference."""

    low: Columns
    """Shape (rules, draws); NaN where too few patients show a region to compare it."""
    high: Columns
    settings: AgainstChampion

    def rates(self, *, difference: float) -> dict[str, float]:
        """Return how often the gate passes and fails a candidate that truly differs by so much everywhere."""
        bounds = np.array([[bound] for _, _, bound in compared_scores(self.settings)]) - difference
        compared = ~np.isnan(self.low)
        passed = ((self.low > bounds) | ~compared).all(axis=0)
        failed = ((self.high <= bounds) & compared).any(axis=0)
        return {"pass": float(passed.mean()), "fail": float(failed.mean())}


def draw_gate(
    *, patients: int, draws: int, settings: AgainstChampion, misnamed: float = 0.1, shared: float = 0.5
) -> GateDraws:
    """Simulate trainings of one recipe against each other, in scans that show four neighbouring regions each.

    An interval moves with the values, so what it says at any true difference follows from these draws.
    """
    bootstrap, random = bootstrap_of(settings), np.random.default_rng(patients)
    shown = _shown(patients)
    weights = (shown / shown.sum(axis=0))[..., np.newaxis]
    ends = []
    for size in _batches(draws):
        naming = _naming(random, (patients, size), misnamed, shared)
        regions = naming + _retraining(random, (len(shown), patients, size))
        columns = [(regions * weights).sum(axis=0)]
        columns += [region[seen] for region, seen in zip(regions, shown, strict=True)]
        enough = settings.minimum_region_patients
        unknown = np.full((2, size), np.nan)
        ends.append([bootstrap.interval(column) if len(column) >= enough else unknown for column in columns])
    low, high = np.moveaxis(np.concatenate(ends, axis=2), 1, 0)
    return GateDraws(low=low, high=high, settings=settings)


def _shown(patients: int) -> NDArray[np.bool_]:
    """Return which patients show which regions, shape (regions, patients): fields of view in turn."""
    first = np.arange(patients) % (len(REGIONS) - _REGIONS_SHOWN + 1)
    region = np.arange(len(REGIONS))[:, np.newaxis]
    shown: NDArray[np.bool_] = (region >= first) & (region < first + _REGIONS_SHOWN)
    return shown


def _naming(random: np.random.Generator, shape: tuple[int, int], misnamed: float, shared: float) -> Columns:
    right, together = random.beta(55.8, 4.2, shape), random.random(shape)
    # A share of the scans has one fate for both models, in the others each model is lucky or not by itself.
    of_both = random.random(shape) < shared
    models = []
    for _ in range(2):
        fate = np.where(of_both, together, random.random(shape))
        models.append(np.where(fate < misnamed, random.uniform(0.3, 0.6, shape), right))
    return models[0] - models[1]


def _retraining(random: np.random.Generator, shape: tuple[int, ...]) -> Columns:
    return random.normal(0, _RETRAINING, shape) - random.normal(0, _RETRAINING, shape)


def _intervals(
    values: Iterator[Columns], interval: Callable[[Columns], tuple[Columns, Columns]]
) -> tuple[Columns, Columns]:
    lows, highs = zip(*(interval(each) for each in values), strict=True)
    return np.concatenate(lows), np.concatenate(highs)


def _batches(draws: int) -> Iterator[int]:
    for start in range(0, draws, _BATCH):
        yield min(_BATCH, draws - start)
