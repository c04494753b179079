"""Model versions side by side: their scores, and the paired difference where they saw the same scans."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from model_registry.errors import EvidenceError
from model_registry.lifecycle import Registry
from model_registry.pairing import mean_dice, paired_scans, patient_differences, scan_differences
from model_registry.policy import AgainstChampion
from model_registry.statistics import PairedDifference, paired_difference
from spine.errors import InvalidValueError
from spine.metrics.scores import Evaluation, Summary

_SCORES = {
    "Dice (GT-present, scan mean)": "dice_scan_mean",
    "Dice (GT-present, label macro)": "dice_label_macro",
    "Dice (nnU-Net)": "dice_nnunet",
    "bone Dice": "bone_dice",
    "identification rate": "id_rate",
    "all levels right": "all_correct_rate",
    "wrong level rate": "wrong_level_rate",
    "localisation error, mm": "localisation_mm",
    "Dice, whole vertebrae": "whole.dice",
    "Dice, border vertebrae": "border.dice",
}


@dataclass(frozen=True)
class Comparison:
    """Evaluations of several versions, the first being the one that others are held to."""

    versions: tuple[int, ...]
    evaluations: tuple[Evaluation, ...]
    differences: tuple[PairedDifference | None, ...]
    """Each later version minus the first; None where the scans are not the same."""

    def rows(self) -> list[tuple[object, ...]]:
        """Return a row a score, a column a version."""
        return score_rows([evaluation.summary for evaluation in self.evaluations])

    def differences_in_words(self) -> list[str]:
        """Say for each later version how far it is from the first."""
        first, lines = self.versions[0], []
        for version, difference in zip(self.versions[1:], self.differences, strict=True):
            if difference is None or difference.mean is None:
                lines.append(f"version {version} and {first} were not evaluated on the same scans")
            elif difference.low is None:
                lines.append(f"version {version} minus {first}: {difference.mean:+.4f} Dice on one patient")
            else:
                lines.append(
                    f"version {version} minus {first}: {difference.mean:+.4f} Dice "
                    f"[{difference.low:+.4f}, {difference.high:+.4f}] over {difference.patients} patients "
                    f"(95 % BCa; smallest difference seen: {difference.detectable:.4f})"
                )
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "versions": list(self.versions),
            "summaries": [evaluation.summary.model_dump(mode="json") for evaluation in self.evaluations],
            "differences": [
                None if difference is None else difference.model_dump(mode="json") for difference in self.differences
            ],
        }


def compare_versions(root: Path, versions: Sequence[int]) -> Comparison:
    """Compare registered versions by the evaluations in their bundles, each bundle verified."""
    if len(versions) < 2 or len(set(versions)) != len(versions):
        raise InvalidValueError("versions", list(versions), expected="two or more different versions")
    registry = Registry(root)
    evaluations = [
        Evaluation.parse(registry.verified_bundle(version).json("evaluation.json"), where=f"version {version}")
        for version in versions
    ]
    differences = [_difference(evaluation, evaluations[0]) for evaluation in evaluations[1:]]
    return Comparison(versions=tuple(versions), evaluations=tuple(evaluations), differences=tuple(differences))


def score_rows(summaries: Sequence[Summary]) -> list[tuple[object, ...]]:
    """Return a row a score and a region that any summary has cases of."""
    rows: list[tuple[object, ...]] = [
        (name, *(attrgetter(attribute)(summary) for summary in summaries)) for name, attribute in _SCORES.items()
    ]
    for regions in zip(*(summary.regions for summary in summaries), strict=True):
        if any(region.scans for region in regions):
            rows.append((f"Dice of {regions[0].name}", *(region.dice for region in regions)))
    return rows


def _difference(evaluation: Evaluation, first: Evaluation) -> PairedDifference | None:
    try:
        pairs = paired_scans(evaluation, first)
    except EvidenceError:
        return None
    differences = patient_differences(pairs, scan_differences(pairs, mean_dice))
    return paired_difference(differences, settings=AgainstChampion())
