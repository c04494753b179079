"""Two evaluations of the same scans, paired; the patient is the unit, the scan where the patient is unknown."""

from collections.abc import Callable, Iterable, Mapping

from model_registry.errors import EvidenceError
from spine.labels import NAMES
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
    """Pair the scans with labels by case, in the order of the cases.

    Raises EvidenceError where the two are not of the same scans, were scored against different references, or
    name different patients.
    """
    new, old = (
        {scan.case: scan for scan in each.scans if scan.mean_dice is not None} for each in (candidate, champion)
    )
    if new.keys() != old.keys():
        odd = sorted(new.keys() ^ old.keys())
        raise EvidenceError(
            f"'{candidate.name}' and '{champion.name}' were evaluated on different scans "
            f"({len(odd)} in one only, first {odd[0]}); expected the same scans"
        )
    pairs = [(new[case], old[case]) for case in sorted(new)]
    for pair in pairs:
        _require_same_reference(pair, names=(candidate.name, champion.name))
    return pairs


def _require_same_reference(pair: Pair, *, names: tuple[str, str]) -> None:
    """Refuse two scores of one case that can't be of one reference: a case's name may be used twice."""
    (new, old), (first, second) = pair, names
    ours, theirs = ({score.label: score.reference_voxels for score in scan.labels} for scan in pair)
    for label in sorted(ours.keys() | theirs.keys()):
        if ours.get(label, 0) != theirs.get(label, 0):
            raise EvidenceError(
                f"case {new.case}: the reference of {NAMES.get(label, label)} has {ours.get(label, 0)} voxels with "
                f"'{first}' and {theirs.get(label, 0)} with '{second}'; expected the same reference"
            )
    if new.patient and old.patient and new.patient != old.patient:
        raise EvidenceError(
            f"case {new.case}: its patient is '{new.patient}' with '{first}' and '{old.patient}' with '{second}'; "
            "expected the same patient"
        )


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


def patient_of(scan: ScanScores) -> str:
    """Return who a scan counts for: its patient, or itself where the patient is unknown."""
    return scan.patient or f"scan {scan.case}"


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
