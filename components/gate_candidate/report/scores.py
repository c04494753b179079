"""The report's scores: headlines with their meaning, regions of the spine, and a row a scan."""

from collections.abc import Callable, Iterator, Sequence

from spine.drawing.markup import (
    NOTHING,
    Column,
    Markup,
    count,
    number,
    percent,
    signed,
    table,
    tag,
)
from spine.metrics.scores import Evaluation, ScanScores, Summary

_NAMED_CASES = 12

_SCORES: tuple[tuple[str, str, Callable[[Summary], str]], ...] = (
    ("Dice, GT-present, scan mean", "Primary. Per scan the mean over the vertebrae that the reference shows, a missed "
     "one scoring 0; then the mean over scans.", lambda s: number(s.dice_scan_mean)),
    ("Dice, GT-present, label macro", "Per vertebra the mean over scans that show it; then the mean over vertebrae: "
     "a rare level weighs as much as a common one.", lambda s: number(s.dice_label_macro)),
    ("Dice, nnU-Net's foreground mean", "As nnUNetv2_evaluate_folder: a label predicted where there is none scores 0.",
     lambda s: number(s.dice_nnunet)),
    ("Bone Dice", "All vertebrae merged: was the bone found, whatever it was called?", lambda s: number(s.bone_dice)),
    ("Dice, whole vertebrae", "Mean over vertebrae that lie wholly in the scan.", lambda s: number(s.whole.dice)),
    ("Dice, cut vertebrae", "Mean over vertebrae that the border of the scan cuts.", lambda s: number(s.border.dice)),
    ("Identification rate", "VerSe'19: centroid nearest to the right name's and within 20 mm; over all vertebrae.",
     lambda s: percent(s.id_rate)),
    ("All levels right", "Scans in which every vertebra is identified and none of > 500 voxels is added.",
     lambda s: percent(s.all_correct_rate)),
    ("Wrong level", "Scans whose names are off by a level or more, of the scans in which bone was found.",
     lambda s: percent(s.wrong_level_rate)),
    ("Localisation", "Mean distance of centroids over identified vertebrae, in mm.",
     lambda s: number(s.localisation_mm, digits=2)),
    ("False positives", "Labels predicted in scans whose reference lacks them.",
     lambda s: count(s.false_positive_labels)),
    ("Missing predictions", "Scans without a prediction; each scores 0.", lambda s: count(len(s.missing_predictions))),
)  # fmt: skip


def headline_tiles(candidate: Evaluation, champion: Evaluation | None) -> Markup:
    """Return the five numbers that decide most."""
    chosen = [_SCORES[index] for index in (0, 3, 6, 7, 8)]
    tiles = []
    for name, _, read in chosen:
        below = f"in use: {read(champion.summary)}" if champion else "no model in use"
        parts = (tag("dt", name), tag("dd", read(candidate.summary), class_="big"), tag("dd", below))
        tiles.append(tag("div", *parts))
    return tag("dl", *tiles, class_="tiles")


def headline_table(candidate: Evaluation, out_of_fold: Evaluation | None, champion: Evaluation | None) -> Markup:
    """Return all headline scores, each with what it means."""
    shown = [("Candidate", candidate), ("Model in use", champion), ("Out of fold", out_of_fold)]
    given = [(name, evaluation) for name, evaluation in shown if evaluation]
    rows = [(name, *(read(evaluation.summary) for _, evaluation in given), meaning) for name, meaning, read in _SCORES]
    columns = [Column("Score", "row"), *(Column(name) for name, _ in given), Column("What it means", "words")]
    said = "; ".join(
        f"{name.lower()}: {evaluation.name}, {evaluation.summary.scans} scans" for name, evaluation in given
    )
    return table(f"Headline scores ({said})", columns, rows)


def level_sentences(summary: Summary) -> Markup:
    """Name the scans at a wrong level and those without a prediction."""
    wrong, missing = summary.wrong_level_cases, summary.missing_predictions
    first = f"Named at a wrong level: {_some(wrong)}." if wrong else "No scan was named at a wrong level."
    second = f" Without a prediction: {_some(missing)}." if missing else " Every scan has a prediction."
    return tag("p", first + second)


def regions_table(candidate: Evaluation, champion: Evaluation | None) -> Markup:
    """Return the scores by region, beside those of the model in use."""
    old = {region.name: region for region in champion.summary.regions} if champion else {}
    columns = [Column("Region", "row"), Column("Scans"), Column("Vertebrae"), Column("Dice"), Column("ID rate")]
    if champion:
        columns += [Column("Dice, in use"), Column("Difference"), Column("ID rate, in use")]
    rows = []
    for region in candidate.summary.regions:
        row = [region.name, str(region.scans), str(region.vertebrae), number(region.dice), percent(region.id_rate)]
        if champion:
            before = old.get(region.name)
            dice = before.dice if before else None
            change = None if region.dice is None or dice is None else region.dice - dice
            row += [number(dice), signed(change), percent(before.id_rate if before else None)]
        rows.append(row)
    return table("Scores by region of the spine (Dice: GT-present, scan mean within the region)", columns, rows)


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
        yield f"{scan.false_positive_labels} extra label(s), {scan.false_positive_mm3 / 1000:.1f} cm³"


def _by_dice(scan: ScanScores) -> tuple[float, str]:
    return (2.0 if scan.mean_dice is None else scan.mean_dice, scan.case)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _some(cases: Sequence[str]) -> str:
    rest = len(cases) - _NAMED_CASES
    return ", ".join(cases[:_NAMED_CASES]) + (f" and {rest} more (see the table of scans)" if rest > 0 else "")
