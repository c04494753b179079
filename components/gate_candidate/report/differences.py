"""Differences between two models on the same scans, as rows of a chart or a table."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from components.gate_candidate.report.entrants import Entrant
from model_registry.intervals import scan_score
from model_registry.pairing import Score, mean_dice, paired_scans, patient_differences, region_dice, scan_differences
from model_registry.policy import AgainstChampion
from model_registry.statistics import PairedDifference, bootstrap_of, paired_difference
from spine.drawing.markup import NOTHING, Column, Markup, number, signed, table
from spine.labels import REGIONS
from spine.metrics.scores import Evaluation, LabelScore, ScanScores


@dataclass(frozen=True)
class DifferenceRow:
    """A difference, and the bound that a rule holds its interval to; without a bound nothing was decided."""

    name: str
    difference: PairedDifference
    bound: float | None = None
    passed: bool | None = None


@dataclass(frozen=True)
class Contrast:
    """One model minus another, score by score; no rows but a reason where they saw different scans."""

    name: str
    against: str
    rows: tuple[DifferenceRow, ...]
    reason: str | None = None


def contrast(new: Entrant, old: Entrant) -> Contrast:
    """Return the paired differences of ``new`` minus ``old``, over patients, with their 95 % intervals."""
    if reason := _unlike(new, old):
        return Contrast(name=new.name, against=old.name, rows=(), reason=reason)
    pairs = paired_scans(new.evaluation, old.evaluation)
    rows, settings = [], AgainstChampion()
    bootstrap = bootstrap_of(settings)
    for name, score in _SCORES.items():
        differences = patient_differences(pairs, scan_differences(pairs, score))
        if differences:
            rows.append(DifferenceRow(name, paired_difference(differences, settings=settings, bootstrap=bootstrap)))
    return Contrast(name=new.name, against=old.name, rows=tuple(rows))


def differences_table(found: Contrast) -> Markup:
    """Return the differences with their intervals, and the smallest that this many patients can show."""
    columns = [
        Column("Score", "row"), Column("Patients"), Column("Difference"), Column("95 % interval"),
        Column("Smallest detectable"),
    ]  # fmt: skip
    rows = [
        (row.name, str(row.difference.patients), signed(row.difference.mean), _interval(row.difference),
         number(row.difference.detectable))
        for row in found.rows
    ]  # fmt: skip
    caption = f"{found.name} minus {found.against}. Smallest detectable: the difference that a test of this many "
    return table(f"{caption}patients and this spread sees with a power of 80 %", columns, rows)


def _interval(found: PairedDifference) -> str:
    return NOTHING if found.low is None else f"{signed(found.low)} to {signed(found.high)}"


def _unlike(new: Entrant, old: Entrant) -> str | None:
    """Say how the scans with labels differ, None where they don't."""
    ours, theirs = ({scan.case for scan in _labelled(entrant.evaluation)} for entrant in (new, old))
    if ours == theirs and ours:
        return None
    both = len(ours & theirs)
    return (
        f"{new.name} and {old.name} were not evaluated on the same scans ({both} in both, {len(ours) - both} only in "
        f"{new.name}, {len(theirs) - both} only in {old.name}): no paired difference can be told"
    )


def _labelled(evaluation: Evaluation) -> Iterable[ScanScores]:
    return (scan for scan in evaluation.scans if scan.mean_dice is not None)


def _any(_: LabelScore) -> bool:
    return True


_SCORES: Final[dict[str, Score]] = {
    "Dice": mean_dice,
    "bone Dice": lambda scan: scan.bone_dice,
    "NSD at 3 mm": scan_score(_any, lambda label: label.nsd_3mm),
    "ID rate": scan_score(_any, lambda label: None if label.identified is None else float(label.identified)),
    "all levels right": lambda scan: None if scan.all_correct is None else float(scan.all_correct),
    **{f"Dice, {region}": region_dice(labels) for region, labels in REGIONS.items()},
}
