"""Two evaluations of the same scans, paired; the patient is the unit, the scan where the patient is unknown."""

from collections.abc import Callable, Iterable, Mapping

from model_registry.errors import EvidenceError
from spine.metrics.scores import Evaluation, ScanScores

Score = Callable[[ScanScores], float | None]
Pair = tuple[ScanScores, ScanScores]
"""The candidate's scores of a scan, and those of the model in use."""


def mean_dice(scan: ScanScores) -> float | None:
    """Return the scan's mean Dice (GT-present)."""
    return scan.mean_dice


def region_dice(labels: tuple[int, ...]) -> Score:
    """Return a score: the scan's mean Dice (GT-present) over ``labels``, None where the reference has none."""

    def score(scan: ScanScores) -> float | None:
        values = [label.dice for label in scan.labels if label.label in labels and label.dice is not None]
        return sum(values) / len(values) if values else None

    return score


def paired_scans(candidate: Evaluation, champion: Evaluation) -> list[Pair]:
    """Pair the scans with labels by case; raises EvidenceError where the two are not of the same scans."""
    new, old = (
        {scan.case: scan for scan in each.scans if scan.mean_dice is not None} for each in (candidate, champion)
    )
    if new.keys() != old.keys():
        odd = sorted(new.keys() ^ old.keys())
        raise EvidenceError(
            f"candidate '{candidate.name}' and model in use '{champion.name}' were evaluated on different scans "
            f"({len(odd)} in one only, first {odd[0]}); expected the same scans"
        )
    return [(new[case], old[case]) for case in sorted(new)]


def scan_differences(pairs: list[Pair], score: Score) -> dict[str, float]:
    """Return candidate minus champion by case, for the scans where the score exists in both."""
    found = {new.case: (score(new), score(old)) for new, old in pairs}
    return {case: new - old for case, (new, old) in found.items() if new is not None and old is not None}


def patient_differences(pairs: list[Pair], differences: Mapping[str, float]) -> list[float]:
    """Return the mean difference of each patient's scans: scans of one patient are no independent evidence.

    A patient that only one of the two evaluations knows, as where the other came from nnU-Net, counts for both.
    """
    patients = {new.case: new.patient or old.patient for new, old in pairs}
    return _patient_means(patients, differences)


def patient_scores(scans: Iterable[ScanScores], score: Score) -> list[float]:
    """Return the mean score of each patient's scans, for the patients where it exists."""
    by_case = {scan.case: scan for scan in scans}
    values = {case: value for case, scan in by_case.items() if (value := score(scan)) is not None}
    return _patient_means({case: scan.patient for case, scan in by_case.items()}, values)


def _patient_means(patients: Mapping[str, str | None], values: Mapping[str, float]) -> list[float]:
    by_patient: dict[str, list[float]] = {}
    for case, patient in patients.items():
        if case in values:
            by_patient.setdefault(patient or f"scan {case}", []).append(values[case])
    return [sum(each) / len(each) for each in by_patient.values()]
