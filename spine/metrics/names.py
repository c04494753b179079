"""Every score of a summary under one stable name, so that runs made years apart line up beside one another."""

from typing import Final

from spine.metrics.scores import GroupScores, Summary

_TOTALS: Final = (
    "dice_scan_mean",
    "dice_label_macro",
    "dice_nnunet",
    "bone_dice",
    "id_rate",
    "all_correct_rate",
    "wrong_level_rate",
    "misnamed_rate",
    "localisation_mm",
    "nsd_1_5mm",
    "nsd_3mm",
    "hd95_mm",
    "missed_labels",
    "false_positive_labels",
    "false_positive_mm3",
    "extra_vertebra_rate",
)
_OF_A_GROUP: Final = ("dice", "nsd_3mm", "hd95_mm", "id_rate", "misnamed_rate")


def named_scores(summary: Summary, *, prefix: str) -> dict[str, float]:
    """Return the scores that are known, such as ``test/dice_scan_mean`` and ``test/region/L1-L5.dice``.

    MLflow shows what stands before the last slash as a section of its own.
    """
    scores = {f"{prefix}/{name}": getattr(summary, name) for name in _TOTALS}
    scores[f"{prefix}/missing_predictions"] = len(summary.missing_predictions)
    for kind, groups in (
        ("region", summary.regions),
        ("cut", (summary.whole, summary.border)),
        ("level", summary.labels),
    ):
        for group in groups:
            scores |= _of_group(f"{prefix}/{kind}", group)
    return {name: float(value) for name, value in scores.items() if value is not None}


def _of_group(section: str, group: GroupScores) -> dict[str, float | None]:
    return {f"{section}/{group.name}.{name}": getattr(group, name) for name in _OF_A_GROUP}
