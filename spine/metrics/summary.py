"""Means over scans, each under its own name, from the label scores alone."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from spine.labels import NAMES, REGIONS
from spine.metrics.overlap import dice
from spine.metrics.scores import LabelScore, RegionScores, ScanScores, Summary


def summarize(scans: Sequence[ScanScores]) -> Summary:
    """Summarise scans; a mean over nothing is None.

    Scores that a scan does not know (None, as in values rebuilt from voxel counts only) are left out of their
    mean. The wrong-level rate is over the scans in which predicted bone meets reference bone, so that a crash
    can't dilute it.
    """
    vertebrae = [score for scan in scans for score in _reference_labels(scan)]
    levels = [scan for scan in scans if _has_level(scan)]
    wrong = [scan.case for scan in levels if scan.level_shift != 0]
    by_label = {label: [score for score in vertebrae if score.label == label] for label in NAMES}
    label_dice = {NAMES[label]: _mean(score.dice for score in scores) for label, scores in by_label.items()}
    return Summary(
        scans=len(scans),
        scans_with_labels=sum(1 for scan in scans if _reference_labels(scan)),
        missing_predictions=tuple(scan.case for scan in scans if scan.missing),
        dice_scan_mean=_mean(scan.mean_dice for scan in scans),
        dice_label_macro=_mean(label_dice.values()),
        dice_nnunet=_dice_nnunet(scans),
        bone_dice=_mean(scan.bone_dice for scan in scans),
        id_rate=_mean(score.identified for score in vertebrae),
        all_correct_rate=_mean(scan.all_correct for scan in scans),
        wrong_level_rate=len(wrong) / len(levels) if levels else None,
        wrong_level_cases=tuple(wrong),
        localisation_mm=_mean(score.localisation_mm for score in vertebrae),
        false_positive_labels=sum(scan.false_positive_labels for scan in scans),
        dice_whole=_mean(score.dice for score in vertebrae if not score.at_border),
        dice_border=_mean(score.dice for score in vertebrae if score.at_border),
        regions=tuple(_region(name, labels, scans) for name, labels in REGIONS.items()),
        label_dice=label_dice,
    )


def _dice_nnunet(scans: Sequence[ScanScores]) -> float | None:
    """Return the foreground mean of nnU-Net 2.8.1, ``compute_metrics_on_folder``.

    Per label the mean over the scans with TP + FP + FN > 0, so a false-positive label scores 0, then the mean
    over labels. nnU-Net's NaN for a label that no scan holds is left out instead of spreading to the mean.
    """
    held = [score for scan in scans for score in scan.labels]
    return _mean(_mean(_overlap_dice(score) for score in held if score.label == label) for label in NAMES)


def _overlap_dice(score: LabelScore) -> float | None:
    return dice(
        reference_voxels=score.reference_voxels,
        predicted_voxels=score.predicted_voxels,
        common_voxels=score.common_voxels,
    )


def _region(name: str, labels: tuple[int, ...], scans: Sequence[ScanScores]) -> RegionScores:
    shown = [[score for score in _reference_labels(scan) if score.label in labels] for scan in scans]
    vertebrae = [score for scores in shown for score in scores]
    return RegionScores(
        region=name,
        scans=sum(1 for scores in shown if scores),
        vertebrae=len(vertebrae),
        dice=_mean(_mean(score.dice for score in scores) for scores in shown),
        id_rate=_mean(score.identified for score in vertebrae),
    )


def _reference_labels(scan: ScanScores) -> list[LabelScore]:
    return [score for score in scan.labels if score.reference_voxels]


def _has_level(scan: ScanScores) -> bool:
    # Bone that overlaps under names more than three levels off has no shift, yet is a wrong level.
    return scan.level_shift is not None or bool(scan.bone_dice)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
