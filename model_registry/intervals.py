"""Scores of groups of vertebrae with their intervals over patients: regions of the spine, whole and cut vertebrae."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from model_registry.bootstrap import Bootstrap, same_everywhere
from model_registry.pairing import Score, patient_of, patient_scores
from model_registry.policy import AgainstChampion
from model_registry.statistics import Interval, bootstrap_of, mean_interval, rate_interval
from spine.labels import REGIONS
from spine.metrics.scores import Evaluation, LabelScore, ScanScores

Belongs = Callable[[LabelScore], bool]
_MM_PER_M: Final = 1000.0


@dataclass(frozen=True)
class Estimate:
    """A score and the ends of its 95 % interval over patients; None where it is unknown."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Group:
    """Scores of one group of reference vertebrae."""

    name: str
    patients: int
    vertebrae: int
    missed: int
    """Vertebrae whose name the prediction doesn't hold."""
    dice: Estimate
    nsd_3mm: Estimate
    hd95_mm: Estimate
    """Over the vertebrae that are not missed."""
    id_rate: Estimate


def groups(evaluation: Evaluation) -> list[Group]:
    """Return all vertebrae, the whole ones, those cut by the border, then every region.

    Dice, NSD and HD95 are means over patients, of whom several scans are averaged first, as the verdict decides on
    them; the rate is over all vertebrae. So are their intervals: from 10,000 resamples of the patients, of the rate
    Wilson's (see ``model_registry.statistics``).
    """
    bootstrap = bootstrap_of(AgainstChampion())
    kinds: list[tuple[str, Belongs]] = [
        ("All vertebrae", lambda _: True),
        ("Whole vertebrae", lambda score: score.at_border is False),
        ("Cut by the border", lambda score: score.at_border is True),
        *((region, _within(labels)) for region, labels in REGIONS.items()),
    ]
    return [_group(name, evaluation.scans, belongs, bootstrap) for name, belongs in kinds]


def _group(name: str, scans: Sequence[ScanScores], belongs: Belongs, bootstrap: Bootstrap) -> Group:
    def over_patients(read: Callable[[LabelScore], float | None], *, unit: float = 1.0) -> Estimate:
        # Intervals are of shares; distances become such in metres.
        values = patient_scores(scans, scan_score(belongs, read))
        interval = mean_interval([value / unit for value in values], bootstrap=bootstrap)
        return Estimate(
            value=same_everywhere(fmean(values)) if values else None,
            interval=interval and (interval[0] * unit, interval[1] * unit),
        )

    vertebrae = [score for scan in scans for score in _members(scan, belongs)]
    return Group(
        name=name,
        patients=len({patient_of(scan) for scan in scans if any(_members(scan, belongs))}),
        vertebrae=len(vertebrae),
        missed=sum(1 for score in vertebrae if not score.predicted_voxels),
        dice=over_patients(lambda score: score.dice),
        nsd_3mm=over_patients(lambda score: score.nsd_3mm),
        hd95_mm=over_patients(lambda score: score.hd95_mm, unit=_MM_PER_M),
        id_rate=_rate(scans, belongs),
    )


def scan_score(belongs: Belongs, read: Callable[[LabelScore], float | None]) -> Score:
    """Return a score of a scan: the mean over its reference vertebrae that belong, of those where it is known."""

    def score(scan: ScanScores) -> float | None:
        values = [value for label in _members(scan, belongs) if (value := read(label)) is not None]
        return fmean(values) if values else None

    return score


def _rate(scans: Sequence[ScanScores], belongs: Belongs) -> Estimate:
    by_patient: dict[str, list[bool]] = {}
    for scan in scans:
        known = [score.identified for score in _members(scan, belongs) if score.identified is not None]
        by_patient.setdefault(patient_of(scan), []).extend(known)
    hits, trials = [sum(each) for each in by_patient.values()], [len(each) for each in by_patient.values()]
    return Estimate(
        value=sum(hits) / sum(trials) if sum(trials) else None,
        interval=rate_interval(hits, trials, confidence=AgainstChampion().confidence),
    )


def _members(scan: ScanScores, belongs: Belongs) -> Iterator[LabelScore]:
    return (score for score in scan.labels if score.reference_voxels and belongs(score))


def _within(labels: tuple[int, ...]) -> Belongs:
    return lambda score: score.label in labels
