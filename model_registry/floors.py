"""The floors of a policy as rules: each score with its interval, and the scans that hurt it most."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from model_registry.bootstrap import Bootstrap, same_everywhere
from model_registry.pairing import Score, mean_dice, patient_scores, region_dice
from model_registry.policy import Floors, Policy
from model_registry.rates import rate_rules
from model_registry.statistics import mean_interval
from model_registry.verdict import WORST_CASES, Rule, bound_rule
from spine.labels import IDS, NAMES, REGIONS
from spine.metrics.scores import ScanScores


def floor_rules(scans: Sequence[ScanScores], *, policy: Policy, bootstrap: Bootstrap) -> Iterator[Rule]:
    """Yield a rule for every floor that ``policy`` sets; what no scan shows has none.

    The score itself is held to the floor: of Dice the mean over patients, of whom several scans are averaged
    first. Its interval is over patients, too, and told beside it. A score that the evaluation doesn't know, as
    one from nnU-Net's summary.json, leaves its rule undecided.
    """
    floors = policy.floors
    name = "mean Dice (GT-present, over patients)"
    yield _mean_rule("dice_scan_mean", name, floors.dice_scan_mean, scans=scans, score=mean_dice, bootstrap=bootstrap)
    if floors.dice_label_macro is not None:
        macro = _mean(list(_level_means(scans).values()))
        yield bound_rule("dice_label_macro", "mean Dice (GT-present, label macro)", macro, floors.dice_label_macro)
    yield from rate_rules(scans, floors, confidence=policy.champion.confidence)
    for rule_id, name, floor, labels in _parts(scans, floors):
        score = region_dice(labels)
        if any(score(scan) is not None for scan in scans):
            yield _mean_rule(rule_id, name, floor, scans=scans, score=score, bootstrap=bootstrap)


def _parts(scans: Sequence[ScanScores], floors: Floors) -> Iterator[tuple[str, str, float, tuple[int, ...]]]:
    """Yield the floors of parts of the spine, down it, the worst level last: rule id, name, floor and labels."""
    for region, labels in REGIONS.items():
        if region in floors.region_dice:
            yield f"region_dice.{region}", f"mean Dice of {region}", floors.region_dice[region], labels
    for level, label in IDS.items():
        if level in floors.level_dice:
            yield f"level_dice.{level}", f"mean Dice of {level}", floors.level_dice[level], (label,)
    means = _level_means(scans)
    if floors.every_level_dice is not None and means:
        worst = min(means, key=lambda label: means[label])
        name = f"mean Dice of every level, lowest in {NAMES[worst]}"
        yield "every_level_dice", name, floors.every_level_dice, (worst,)


def _level_means(scans: Sequence[ScanScores]) -> dict[int, float]:
    """Return the mean Dice over patients of every level that any scan shows, by label."""
    means = {label: _mean(patient_scores(scans, region_dice((label,)))) for label in NAMES}
    return {label: mean for label, mean in means.items() if mean is not None}


def _mean_rule(
    rule_id: str, name: str, floor: float, *, scans: Sequence[ScanScores], score: Score, bootstrap: Bootstrap
) -> Rule:
    known = {scan.case: found for scan in scans if (found := score(scan)) is not None}
    patients = patient_scores(scans, score)
    return bound_rule(
        rule_id,
        name,
        _mean(patients),
        floor,
        interval=mean_interval(patients, bootstrap=bootstrap),
        worst=tuple(sorted(known, key=lambda case: known[case])[:WORST_CASES]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return same_everywhere(fmean(values)) if values else None
