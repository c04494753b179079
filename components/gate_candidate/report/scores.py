"""The report's scores: headlines with their meaning, scans at a wrong level, and a row a scan."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from components.gate_candidate.report.entrants import Entrant
from spine.drawing.markup import (
    NOTHING,
    Column,
    Markup,
    count,
    joined,
    number,
    percent,
    signed,
    table,
    tag,
)
from spine.metrics.naming import misnamed_in_words
from spine.metrics.scores import Evaluation, ScanScores

_NAMED_CASES = 12

_HEADLINES = ("Dice, GT-present, scan mean", "Bone Dice", "Identification rate", "All levels right", "Wrong level")


@dataclass(frozen=True)
class Score:
    """A score of a whole evaluation: its name, how it is read and written, and what it means."""

    name: str
    read: Callable[[Evaluation], float | None]
    write: Callable[[float | None], str]
    meaning: str


def _missing_predictions(evaluation: Evaluation) -> int | None:
    if any(scan.missing is None for scan in evaluation.scans):
        return None
    return len(evaluation.summary.missing_predictions)


SCORES: Final = (
    Score("Dice, GT-present, scan mean", lambda e: e.summary.dice_scan_mean, number,
          "Primary. Per scan the mean over the vertebrae that the reference shows, a missed one scoring 0; then the "
          "mean over scans."),
    Score("Dice, GT-present, label macro", lambda e: e.summary.dice_label_macro, number,
          "Per vertebra the mean over scans that show it; then the mean over vertebrae: a rare level weighs as much as "
          "a common one."),
    Score("Dice, nnU-Net's foreground mean", lambda e: e.summary.dice_nnunet, number,
          "As nnUNetv2_evaluate_folder: a label predicted where there is none scores 0."),
    Score("Bone Dice", lambda e: e.summary.bone_dice, number,
          "All vertebrae merged: was the bone found, whatever it was called?"),
    Score("Dice, whole vertebrae", lambda e: e.summary.whole.dice, number,
          "Over vertebrae that lie wholly in the scan."),
    Score("Dice, cut vertebrae", lambda e: e.summary.border.dice, number,
          "Over vertebrae that the border of the scan cuts."),
    Score("Identification rate", lambda e: e.summary.id_rate, percent,
          "VerSe'19: centroid nearest to the right name's and within 20 mm; over all vertebrae."),
    Score("All levels right", lambda e: e.summary.all_correct_rate, percent,
          "Scans in which every vertebra is identified and none of > 500 voxels is added."),
    Score("Wrong level", lambda e: e.summary.wrong_level_rate, percent,
          "Scans whose names are off by a level or more, of the scans in which bone was found."),
    Score("Misnamed", lambda e: e.summary.misnamed_rate, percent,
          "Vertebrae found as bone that mostly has another name, of those found: sees a shifted block, too."),
    Score("Localisation, mm", lambda e: e.summary.localisation_mm, lambda value: number(value, digits=2),
          "Mean distance of centroids over identified vertebrae."),
    Score("NSD at 1.5 mm", lambda e: e.summary.nsd_1_5mm, number,
          "Normalised surface Dice: the share of both surfaces that lies within 1.5 mm of the other."),
    Score("NSD at 3 mm", lambda e: e.summary.nsd_3mm, number, "The same within 3 mm."),
    Score("HD95, mm", lambda e: e.summary.hd95_mm, lambda value: number(value, digits=2),
          "95th percentile of the distances between the surfaces, over vertebrae whose name is predicted."),
    Score("Names not predicted", lambda e: e.summary.missed_labels, count,
          "Reference vertebrae whose name no voxel of the prediction bears; the bone may be there under another name."),
    Score("False positives", lambda e: e.summary.false_positive_labels, count,
          "Labels predicted in scans whose reference lacks them."),
    Score("Extra vertebrae", lambda e: e.summary.extra_vertebra_rate, percent,
          "Scans with a label of > 500 voxels that the reference lacks, of all scans, those without labels included."),
    Score("Missing predictions", _missing_predictions, count,
          "Scans without a prediction; each scores 0."),
)  # fmt: skip


def headline_tiles(entrants: Sequence[Entrant]) -> Markup:
    """Return the five numbers that decide most, of the first model, above the second's."""
    tiles = []
    for score in SCORES:
        if score.name in _HEADLINES:
            found = [score.write(score.read(entrant.evaluation)) for entrant in entrants[:2]]
            below = f"in use: {found[1]}" if len(found) > 1 else "no model in use"
            tiles.append(tag("div", tag("dt", score.name), tag("dd", found[0], class_="big"), tag("dd", below)))
    return tag("dl", *tiles, class_="tiles")


def headline_table(entrants: Sequence[Entrant]) -> Markup:
    """Return all scores of every model, each with what it means."""
    rows: list[list[str | Markup]] = [
        [
            joined((score.name, tag("span", score.meaning, class_="ci"))),
            *(score.write(score.read(entrant.evaluation)) for entrant in entrants),
        ]
        for score in SCORES
    ]
    columns = [Column("Score", "row"), *(Column(entrant.name) for entrant in entrants)]
    said = "; ".join(
        f"{entrant.name}: {entrant.evaluation.name}, {entrant.evaluation.summary.scans} scans" for entrant in entrants
    )
    return table(f"All scores ({said})", columns, rows)


def level_sentences(evaluation: Evaluation) -> Markup:
    """Name the scans at a wrong level, those without a prediction, and those in which some vertebrae are misnamed."""
    summary = evaluation.summary
    wrong, missing = summary.wrong_level_cases, summary.missing_predictions
    first = f"Named at a wrong level: {_some(wrong)}." if wrong else "No scan was named at a wrong level."
    if summary.wrong_level_rate is None:
        first = "At which level the scans were named is not known."
    second = f" Without a prediction: {_some(missing)}." if missing else " Every scan has a prediction."
    if _missing_predictions(evaluation) is None:
        second = " Whether every scan has a prediction is not known."
    misnamed = [
        f"{scan.case} ({words})"
        for scan in evaluation.scans
        if scan.case not in wrong and (words := misnamed_in_words(scan))
    ]
    third = f" At the right level as a whole, but with wrong names: {_some(misnamed)}." if misnamed else ""
    return tag("p", first + second + third)


def scans_table(candidate: Evaluation, champion: Evaluation | None) -> Markup:
    """Return a row a scan, the worst first; scans without labels last."""
    old = {scan.case: scan.mean_dice for scan in champion.scans} if champion else {}
    columns = [
        Column("Case", "row"), Column("Patient", "words"), Column("Dice"), Column("Bone Dice"), Column("Level shift"),
        Column("All levels right", "words"), *([Column("Dice, in use"), Column("Difference")] if champion else []),
        Column("Remark", "words"),
    ]  # fmt: skip
    rows = []
    for scan in sorted(candidate.scans, key=_by_dice):
        right = {True: "✓ yes", False: "✗ no", None: NOTHING}[scan.all_correct]
        shift = NOTHING if scan.level_shift is None else "0" if not scan.level_shift else f"{scan.level_shift:+d}"
        row = [scan.case, scan.patient or NOTHING, number(scan.mean_dice), number(scan.bone_dice), _minus(shift), right]
        if champion:
            before = old.get(scan.case)
            change = None if scan.mean_dice is None or before is None else scan.mean_dice - before
            row += [number(before), signed(change)]
        rows.append([*row, "; ".join(_remarks(scan))])
    return table("Scans by mean Dice (GT-present), the worst first", columns, rows)


def _remarks(scan: ScanScores) -> Iterator[str]:
    if scan.missing:
        yield "no prediction"
    if scan.mean_dice is None:
        yield "reference without labels"
    if scan.false_positive_labels:
        volume = f", {scan.false_positive_mm3 / 1000:.1f} cm³" if scan.false_positive_mm3 else ""
        yield f"{scan.false_positive_labels} extra label(s){volume}"


def _by_dice(scan: ScanScores) -> tuple[float, str]:
    return (2.0 if scan.mean_dice is None else scan.mean_dice, scan.case)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _some(cases: Sequence[str]) -> str:
    rest = len(cases) - _NAMED_CASES
    return ", ".join(cases[:_NAMED_CASES]) + (f" and {rest} more (see the table of scans)" if rest > 0 else "")
