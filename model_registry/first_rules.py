"""The rules of verdicts of the first format, which had a name and no id: what their ids and kinds are."""

from typing import Any, Final

from spine.labels import IDS, REGIONS

_IDS: Final = {
    "patients with labels": ("minimum_scans", "count"),
    "missing predictions": ("missing_predictions", "count"),
    "mean Dice (GT-present, over patients)": ("dice_scan_mean", "score"),
    "mean Dice (GT-present, label macro)": ("dice_label_macro", "score"),
    "identification rate": ("id_rate", "score"),
    "scans with all levels right": ("all_correct_rate", "score"),
    "scans named at a wrong level": ("wrong_level_rate_at_most", "score"),
    "vertebrae with another's name": ("misnamed_rate_at_most", "score"),
    "scans with an extra vertebra": ("extra_vertebra_rate_at_most", "score"),
    "mean Dice against the model in use": ("champion.overall", "difference"),
    **{f"mean Dice of every level, lowest in {level}": ("every_level_dice", "score") for level in IDS},
    **{f"patients that show {level}": (f"required_levels.{level}", "count") for level in IDS},
    **{f"mean Dice of {level}": (f"level_dice.{level}", "score") for level in IDS},
    **{f"patients that show {region}": (f"required_regions.{region}", "count") for region in REGIONS},
    **{f"mean Dice of {region}": (f"region_dice.{region}", "score") for region in REGIONS},
    **{f"Dice of {region} against the model in use": (f"champion.{region}", "difference") for region in REGIONS},
}


def with_rule_ids(rules: Any) -> Any:
    """Return stored rules with ids and kinds by their names; what is no rule of that format stays as it is."""
    if not isinstance(rules, list):
        return rules
    return [_with_id(rule) if isinstance(rule, dict) and rule.get("name") in _IDS else rule for rule in rules]


def _with_id(rule: dict[str, Any]) -> dict[str, Any]:
    rule_id, kind = _IDS[rule["name"]]
    return {"id": rule_id, "kind": kind, **rule}
