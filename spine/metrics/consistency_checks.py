"""Whether the scores of one scan can all be true at once: evidence that contradicts itself proves nothing."""

import math
from collections.abc import Iterator
from statistics import fmean
from typing import Final

from spine.labels import MAX_LABEL, NAMES
from spine.metrics.identification import IDENTIFIED_WITHIN_MM, MAX_SHIFT
from spine.metrics.overlap import present_dice
from spine.metrics.scores import LabelScore, ScanScores
from spine.metrics.summary import is_extra_vertebra

_TOLERANCE: Final = 1e-9


def fault(scan: ScanScores) -> str | None:
    """Say in words the first thing in which a scan's scores contradict one another, None where nothing does.

    Counts must fit each other, and Dice, its mean, ``all_correct`` and the number of false positives must follow
    from them; what isn't known (None, as in nnU-Net's summary.json) is not held against it.
    """
    return next(_faults(scan), None)


def _faults(scan: ScanScores) -> Iterator[str]:
    labels = [score.label for score in scan.labels]
    twice = next((label for place, label in enumerate(labels) if label in labels[:place]), None)
    if twice is not None:
        yield f"label {twice} is there twice"
    for score in scan.labels:
        yield from (f"{NAMES.get(score.label, f'label {score.label}')}: {words}" for words in _faults_of_label(score))
    yield from _faults_of_naming(scan)
    present = [score.dice for score in scan.labels if score.dice is not None]
    if not _same(scan.mean_dice, fmean(present) if present else None):
        yield f"mean Dice is {scan.mean_dice}, but {fmean(present) if present else None} by its labels"
    extra = [score for score in scan.labels if score.predicted_voxels and not score.reference_voxels]
    if scan.false_positive_labels != len(extra):
        yield f"{scan.false_positive_labels} false-positive labels are told, {len(extra)} are there"
    if scan.missing and any(score.predicted_voxels for score in scan.labels):
        yield "the prediction is missing, and has voxels"
    if not _within(scan.bone_dice, 1) or not _within(scan.false_positive_mm3):
        yield f"bone Dice {scan.bone_dice} or false-positive volume {scan.false_positive_mm3} mm³ is out of range"
    if scan.level_shift is not None and abs(scan.level_shift) > MAX_SHIFT:
        yield f"level shift is {scan.level_shift}; expected at most {MAX_SHIFT} either way"


def _faults_of_label(score: LabelScore) -> Iterator[str]:
    reference, predicted, common = score.reference_voxels, score.predicted_voxels, score.common_voxels
    if score.label not in NAMES:
        yield f"no label of ours; expected 1-{MAX_LABEL}"
    if not 0 <= common <= min(reference, predicted):
        yield f"{common} voxels in common of {reference} and {predicted}"
    dice = present_dice(reference_voxels=reference, predicted_voxels=predicted, common_voxels=common)
    if not _same(score.dice, dice):
        yield f"Dice is {score.dice}, but {dice} by its voxels"
    if score.identified and not (reference and predicted):
        yield f"identified, with {reference} voxels in the reference and {predicted} predicted"
    if not _within(score.nsd_1_5mm, 1) or not _within(score.nsd_3mm, 1) or not _within(score.hd95_mm):
        yield f"surface scores {score.nsd_1_5mm}, {score.nsd_3mm}, {score.hd95_mm} are out of range"
    if not _within(score.localisation_mm, IDENTIFIED_WITHIN_MM):
        yield f"localisation error is {score.localisation_mm} mm; expected 0-{IDENTIFIED_WITHIN_MM:g}"
    if any(label is not None and not 0 <= label <= MAX_LABEL for label in (score.called, score.covers)):
        yield f"called {score.called}, covers {score.covers}; expected 0-{MAX_LABEL}"


def _faults_of_naming(scan: ScanScores) -> Iterator[str]:
    """Hold "all levels right" against the vertebrae, where it is known whether they were identified."""
    known = [score.identified for score in scan.labels if score.reference_voxels]
    if any(found is None for found in known):
        if any(found is not None for found in known) or scan.all_correct is not None:
            yield "whether vertebrae were identified is known of some only"
        return
    right = all(known) and not any(is_extra_vertebra(score) for score in scan.labels) if known else None
    if scan.all_correct is not right:
        yield f"all levels right is {scan.all_correct}, but {right} by its vertebrae"


def _same(message: float | None, found: float | None) -> bool:
    if message is None or found is None:
        return message is found
    return abs(message - found) <= _TOLERANCE


def _within(value: float | None, highest: float = math.inf) -> bool:
    """Say whether a number is finite and within 0 and ``highest``; None is in range."""
    return value is None or (math.isfinite(value) and 0 <= value <= highest + _TOLERANCE)
