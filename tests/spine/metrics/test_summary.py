"""Which mean is which, and the policies on absent things."""

import pytest

from spine.labels import NAMES, REGIONS
from spine.metrics.overlap import present_dice
from spine.metrics.scores import LabelScore, ScanScores
from spine.metrics.summary import summarize


def from_counts(case, counts, **known):
    """Build a scan from {label: (reference, predicted, common)}, knowing nothing but these numbers."""
    labels = tuple(
        LabelScore(
            label=label,
            reference_voxels=reference,
            predicted_voxels=predicted,
            common_voxels=common,
            dice=present_dice(reference_voxels=reference, predicted_voxels=predicted, common_voxels=common),
            at_border=label in known.get("border", ()),
            identified=known["identified"](label) if "identified" in known and reference else None,
            localisation_mm=None,
        )
        for label, (reference, predicted, common) in sorted(counts.items())
        if reference + predicted
    )
    present = [score.dice for score in labels if score.dice is not None]
    return ScanScores(
        case=case,
        patient=None,
        labels=labels,
        mean_dice=sum(present) / len(present) if present else None,
        bone_dice=known.get("bone_dice"),
        all_correct=None,
        level_shift=known.get("level_shift"),
        false_positive_labels=0,
        false_positive_mm3=0.0,
        missing=known.get("missing", False),
    )


def test_scores_that_are_not_known_are_none_rather_than_zero():
    summary = summarize([from_counts("a", {20: (10, 9, 8)})])
    assert summary.id_rate is summary.all_correct_rate is summary.wrong_level_rate is None
    assert summary.bone_dice is summary.localisation_mm is summary.misnamed_rate is None
    assert summary.nsd_1_5mm is summary.nsd_3mm is summary.hd95_mm is None
    assert summary.wrong_level_cases == ()


def test_the_three_dice_means_differ_as_defined():
    scans = [
        from_counts("a", {1: (10, 10, 10), 2: (10, 10, 5), 3: (0, 4, 0)}),
        from_counts("b", {1: (10, 10, 0)}),
        from_counts("c", {1: (0, 3, 0)}),
    ]
    summary = summarize(scans)
    assert summary.dice_scan_mean == pytest.approx((0.75 + 0.0) / 2)
    assert summary.dice_label_macro == pytest.approx((0.5 + 0.5) / 2)
    assert summary.dice_nnunet == pytest.approx((1 / 3 + 0.5 + 0.0) / 3)


def test_every_region_and_vertebra_is_listed_and_absent_ones_say_nothing():
    summary = summarize([from_counts("a", {8: (10, 10, 10), 9: (10, 10, 5)}), from_counts("b", {8: (5, 0, 0)})])
    assert [region.name for region in summary.regions] == list(REGIONS)
    regions = {region.name: region for region in summary.regions}
    thoracic = regions.pop("T1-T4")
    assert (thoracic.scans, thoracic.vertebrae, thoracic.dice) == (2, 3, pytest.approx((0.75 + 0.0) / 2))
    assert all((one.scans, one.vertebrae, one.dice, one.id_rate) == (0, 0, None, None) for one in regions.values())
    assert [label.name for label in summary.labels] == list(NAMES.values())
    assert {label.name: label.dice for label in summary.labels if label.dice is not None} == {"T1": 0.5, "T2": 0.5}


def test_the_id_rate_pools_vertebrae_over_scans():
    scans = [
        from_counts("a", dict.fromkeys((1, 2, 3), (9, 9, 9)), identified=lambda label: True),
        from_counts("b", {25: (9, 9, 0), 24: (0, 9, 0)}, identified=lambda label: False),
    ]
    summary = summarize(scans)
    assert summary.id_rate == pytest.approx(3 / 4)
    assert [region.id_rate for region in summary.regions if region.scans] == [1.0, 0.0]


def test_whole_and_border_vertebrae_are_told_apart():
    scan = from_counts("a", {1: (10, 10, 10), 2: (10, 10, 8), 3: (10, 10, 2)}, border={3})
    summary = summarize([scan])
    assert (summary.whole.dice, summary.border.dice) == (pytest.approx(0.9), pytest.approx(0.2))


def test_a_crash_is_named_and_does_not_dilute_the_wrong_level_rate():
    counts = {1: (10, 10, 10)}
    scans = [
        from_counts("wrong", counts, level_shift=1, bone_dice=1.0),
        from_counts("right", counts, level_shift=0, bone_dice=1.0),
        from_counts("crashed", {1: (10, 0, 0)}, bone_dice=0.0, missing=True),
    ]
    summary = summarize(scans)
    assert (summary.wrong_level_rate, summary.wrong_level_cases) == (0.5, ("wrong",))
    assert summary.missing_predictions == ("crashed",)
    assert summary.dice_scan_mean == summary.bone_dice == pytest.approx(2 / 3)


def test_no_scans_give_no_means():
    summary = summarize([])
    assert (summary.scans, summary.dice_scan_mean, summary.dice_nnunet, summary.id_rate) == (0, None, None, None)


def test_surfaces_are_means_over_scans_and_misses_are_counted_beside_hd95():
    found = {"dice": 1.0, "at_border": False, "identified": True, "localisation_mm": 0.0}
    voxels = {"reference_voxels": 10, "common_voxels": 0}
    scan = from_counts("a", {})
    labels = (
        LabelScore(label=1, predicted_voxels=9, nsd_1_5mm=0.5, nsd_3mm=0.8, hd95_mm=4.0, called=1, **voxels, **found),
        LabelScore(label=2, predicted_voxels=0, nsd_1_5mm=0.0, nsd_3mm=0.0, hd95_mm=None, called=0, **voxels, **found),
    )
    other = LabelScore(
        label=8, predicted_voxels=9, nsd_1_5mm=1.0, nsd_3mm=1.0, hd95_mm=1.0, called=9, **voxels, **found
    )
    summary = summarize([scan.model_copy(update={"labels": held}) for held in (labels, (other,))])
    assert (summary.nsd_1_5mm, summary.nsd_3mm) == (pytest.approx(0.625), pytest.approx(0.7))
    assert (summary.hd95_mm, summary.missed_labels) == (pytest.approx(2.5), 1)
    assert summary.misnamed_rate == pytest.approx(1 / 2)
    regions = {region.name: region for region in summary.regions if region.scans}
    assert (regions["C1-C4"].hd95_mm, regions["C1-C4"].missed, regions["T1-T4"].misnamed_rate) == (4.0, 1, 1.0)
