"""Means over scans, each under its own name, from the label scores alone."""

from collections.abc import Callable, Collection, Iterable, Sequence
from statistics import fmean
from typing import Final

from spine.labels import NAMES, REGIONS
from spine.metrics.overlap import dice
from spine.metrics.scores import GroupScores, LabelScore, ScanScores, Summary

EXTRA_VOXELS: Final = 500
"""A label that the reference lacks is an extra vertebra above this many voxels; below, it is a fragment."""


def summarize(scans: Sequence[ScanScores]) -> Summary:
    """Summarise scans; a mean over nothing is None.

    Scores that a scan does not know (None, as in values rebuilt from voxel counts only) are left out of their
    mean. The wrong-level rate is over the scans in which predicted bone meets reference bone, so that a crash
    can't dilute it.
    """
    levels = [scan for scan in scans if _has_level(scan)]
    wrong = [scan.case for scan in levels if scan.level_shift != 0]
    extra = [scan.case for scan in scans if any(is_extra_vertebra(score) for score in scan.labels)]
    everything = _group("all", scans)
    by_label = tuple(_group(name, scans, labels=(label,)) for label, name in NAMES.items())
    return Summary(
        scans=len(scans),
        scans_with_labels=sum(1 for scan in scans if _reference_labels(scan)),
        missing_predictions=tuple(scan.case for scan in scans if scan.missing),
        dice_scan_mean=_mean(scan.mean_dice for scan in scans),
        dice_label_macro=_mean(group.dice for group in by_label),
        dice_nnunet=_dice_nnunet(scans),
        bone_dice=_mean(scan.bone_dice for scan in scans),
        id_rate=everything.id_rate,
        all_correct_rate=_mean(scan.all_correct for scan in scans),
        wrong_level_rate=len(wrong) / len(levels) if levels else None,
        wrong_level_cases=tuple(wrong),
        misnamed_rate=everything.misnamed_rate,
        localisation_mm=everything.localisation_mm,
        nsd_1_5mm=everything.nsd_1_5mm,
        nsd_3mm=everything.nsd_3mm,
        hd95_mm=everything.hd95_mm,
        missed_labels=everything.missed,
        false_positive_labels=sum(scan.false_positive_labels for scan in scans),
        false_positive_mm3=_sum(scan.false_positive_mm3 for scan in scans),
        extra_vertebra_rate=len(extra) / len(scans) if scans else None,
        extra_vertebra_cases=tuple(extra),
        whole=_group("whole", scans, at_border=False),
        border=_group("border", scans, at_border=True),
        regions=tuple(_group(name, scans, labels=labels) for name, labels in REGIONS.items()),
        labels=by_label,
    )


def is_extra_vertebra(score: LabelScore) -> bool:
    """Say whether a label is a vertebra that the reference lacks; up to 500 voxels it is a fragment."""
    return not score.reference_voxels and score.predicted_voxels > EXTRA_VOXELS


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


def _group(
    name: str, scans: Sequence[ScanScores], *, labels: Collection[int] = NAMES, at_border: bool | None = None
) -> GroupScores:
    shown = [
        [
            score
            for score in _reference_labels(scan)
            if score.label in labels and (at_border is None or score.at_border is at_border)
        ]
        for scan in scans
    ]
    vertebrae = [score for scores in shown for score in scores]

    def over_scans(read: Callable[[LabelScore], float | None]) -> float | None:
        return _mean(_mean(read(score) for score in scores) for scores in shown)

    return GroupScores(
        name=name,
        scans=sum(1 for scores in shown if scores),
        vertebrae=len(vertebrae),
        dice=over_scans(lambda score: score.dice),
        nsd_1_5mm=over_scans(lambda score: score.nsd_1_5mm),
        nsd_3mm=over_scans(lambda score: score.nsd_3mm),
        hd95_mm=over_scans(lambda score: score.hd95_mm),
        missed=sum(1 for score in vertebrae if not score.predicted_voxels),
        id_rate=_mean(score.identified for score in vertebrae),
        misnamed_rate=_mean(score.called != score.label for score in vertebrae if score.called),
        localisation_mm=_mean(score.localisation_mm for score in vertebrae),
    )


def _reference_labels(scan: ScanScores) -> list[LabelScore]:
    return [score for score in scan.labels if score.reference_voxels]


def _has_level(scan: ScanScores) -> bool:
    # Bone that overlaps under names more than three levels off has no shift, yet is a wrong level.
    return scan.level_shift is not None or bool(scan.bone_dice)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
