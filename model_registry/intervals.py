"""Scores of groups of vertebrae with their intervals over patients: regions of the spine, whole and cut vertebrae."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from model_registry.bootstrap import Bootstrap
from model_registry.pairing import Score, patient_scores
from model_registry.policy import AgainstChampion
from model_registry.statistics import Interval, bootstrap_of, mean_interval, rate_interval
from spine.labels import REGIONS
from spine.metrics.scores import Evaluation, GroupScores, LabelScore, ScanScores

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
    dice: Estimate
    nsd_3mm: Estimate
    hd95_mm: Estimate
    id_rate: Estimate


def groups(evaluation: Evaluation) -> list[Group]:
    """Return all vertebrae, the whole ones, those cut by the border, then every region.

    The values are those of the summary; the intervals are from 10,000 resamples of the patients, of the rate
    Wilson's (see ``model_registry.statistics``).
    """
    summary, bootstrap = evaluation.summary, bootstrap_of(AgainstChampion())
    kinds: list[tuple[str, GroupScores, Belongs]] = [
        ("All vertebrae", _everything(evaluation), lambda _: True),
        ("Whole vertebrae", summary.whole, lambda score: score.at_border is False),
        ("Cut by the border", summary.border, lambda score: score.at_border is True),
        *((region.name, region, _within(REGIONS[region.name])) for region in summary.regions),
    ]
    return [_group(name, found, evaluation.scans, belongs, bootstrap) for name, found, belongs in kinds]


def _everything(evaluation: Evaluation) -> GroupScores:
    summary = evaluation.summary
    return GroupScores(
        name="all", scans=summary.scans_with_labels, vertebrae=sum(label.vertebrae for label in summary.labels),
        dice=summary.dice_scan_mean, nsd_1_5mm=summary.nsd_1_5mm, nsd_3mm=summary.nsd_3mm, hd95_mm=summary.hd95_mm,
        missed=summary.missed_labels, id_rate=summary.id_rate, misnamed_rate=summary.misnamed_rate,
        localisation_mm=summary.localisation_mm,
    )  # fmt: skip


def _group(name: str, found: GroupScores, scans: Sequence[ScanScores], belongs: Belongs, bootstrap: Bootstrap) -> Group:
    def of_mean(read: Callable[[LabelScore], float | None]) -> Interval | None:
        return mean_interval(patient_scores(scans, scan_score(belongs, read)), bootstrap=bootstrap)

    # Intervals are of shares; distances become such in metres.
    metres = of_mean(lambda score: None if score.hd95_mm is None else score.hd95_mm / _MM_PER_M)
    return Group(
        name=name,
        patients=len({scan.patient or f"scan {scan.case}" for scan in scans if any(_members(scan, belongs))}),
        vertebrae=found.vertebrae,
        missed=found.missed,
        dice=Estimate(found.dice, of_mean(lambda score: score.dice)),
        nsd_3mm=Estimate(found.nsd_3mm, of_mean(lambda score: score.nsd_3mm)),
        hd95_mm=Estimate(found.hd95_mm, metres and (metres[0] * _MM_PER_M, metres[1] * _MM_PER_M)),
        id_rate=Estimate(found.id_rate, _of_rate(scans, belongs)),
    )


def scan_score(belongs: Belongs, read: Callable[[LabelScore], float | None]) -> Score:
    """Return a score of a scan: the mean over its reference vertebrae that belong, of those where it is known."""

    def score(scan: ScanScores) -> float | None:
        values = [value for label in _members(scan, belongs) if (value := read(label)) is not None]
        return fmean(values) if values else None

    return score


def _of_rate(scans: Sequence[ScanScores], belongs: Belongs) -> Interval | None:
    by_patient: dict[str, list[bool]] = {}
    for scan in scans:
        known = [score.identified for score in _members(scan, belongs) if score.identified is not None]
        by_patient.setdefault(scan.patient or f"scan {scan.case}", []).extend(known)
    hits, trials = [sum(each) for each in by_patient.values()], [len(each) for each in by_patient.values()]
    return rate_interval(hits, trials, confidence=AgainstChampion().confidence)


def _members(scan: ScanScores, belongs: Belongs) -> Iterator[LabelScore]:
    return (score for score in scan.labels if score.reference_voxels and belongs(score))


def _within(labels: tuple[int, ...]) -> Belongs:
    return lambda score: score.label in labels
