"""Two evaluations of the same scans, paired; the patient is the unit, the scan where the patient is unknown."""

from collections.abc import Callable, Mapping

from model_registry.errors import EvidenceError
from spine.metrics.scores import Evaluation, ScanScores

Score = Callable[[ScanScores], float | None]


def mean_dice(scan: ScanScores) -> float | None:
    """Return the scan's mean Dice (GT-present)."""
    return scan.mean_dice


def region_dice(labels: tuple[int, ...]) -> Score:
    """Return a score: the scan's mean Dice (GT-present) over ``labels``, None where the reference has none."""

    def score(scan: ScanScores) -> float | None:
        values = [label.dice for label in scan.labels if label.label in labels and label.dice is not None]
        return sum(values) / len(values) if values else None

    return score


def paired_scans(candidate: Evaluation, champion: Evaluation) -> list[tuple[ScanScores, ScanScores]]:
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


def scan_differences(pairs: list[tuple[ScanScores, ScanScores]], score: Score) -> dict[str, float]:
    """Return candidate minus champion by case, for the scans where the score exists in both."""
    found = {new.case: (score(new), score(old)) for new, old in pairs}
    return {case: new - old for case, (new, old) in found.items() if new is not None and old is not None}


def patient_differences(pairs: list[tuple[ScanScores, ScanScores]], differences: Mapping[str, float]) -> list[float]:
    """Return the mean difference of each patient's scans: scans of one patient are no independent evidence."""
    by_patient: dict[str, list[float]] = {}
    for new, _ in pairs:
        if new.case in differences:
            by_patient.setdefault(new.patient or f"scan {new.case}", []).append(differences[new.case])
    return [sum(values) / len(values) for values in by_patient.values()]
