"""The gate: a pure function of a candidate's evaluation, the evaluation of the model in use, and a policy."""

from collections.abc import Iterator

from model_registry.pairing import (
    Score,
    mean_dice,
    paired_scans,
    patient_differences,
    region_dice,
    scan_differences,
)
from model_registry.policy import Policy
from model_registry.statistics import PairedDifference, paired_difference
from model_registry.verdict import Outcome, Rule, Verdict
from spine.labels import REGIONS
from spine.metrics.scores import Evaluation, ScanScores

_WORST = 5


def judge(*, candidate: Evaluation, champion: Evaluation | None, policy: Policy) -> Verdict:
    """Judge ``candidate`` by the policy's floors, and against ``champion`` where there is one.

    Raises EvidenceError where the two evaluations are not of the same scans.
    """
    rules = [*_evidence_rules(candidate, policy), *_floor_rules(candidate, policy)]
    not_compared: list[str] = []
    if champion:
        rules += _champion_rules(candidate, champion, policy, not_compared)
    outcome: Outcome = "pass"
    if any(rule.passed is False for rule in rules):
        outcome = "fail"
    elif any(rule.passed is None for rule in rules):
        outcome = "inconclusive"
    return Verdict(
        outcome=outcome,
        evaluation=candidate.digest,
        champion=champion.digest if champion else None,
        policy_name=policy.name,
        policy=policy.digest,
        scans=candidate.summary.scans_with_labels,
        rules=tuple(rules),
        regions_without_cases=tuple(region.name for region in candidate.summary.regions if not region.scans),
        regions_not_compared=tuple(not_compared),
        summary=_in_words(outcome, rules, candidate),
    )


def _evidence_rules(candidate: Evaluation, policy: Policy) -> Iterator[Rule]:
    summary = candidate.summary
    yield Rule(
        name="scans with labels",
        value=summary.scans_with_labels,
        expected=f"at least {policy.minimum_scans}",
        passed=True if summary.scans_with_labels >= policy.minimum_scans else None,
    )
    yield Rule(
        name="missing predictions",
        value=len(summary.missing_predictions),
        expected="none",
        passed=not summary.missing_predictions,
        worst_cases=summary.missing_predictions[:_WORST],
    )
    scans = {region.name: region.scans for region in summary.regions}
    for region in policy.required_regions:
        yield Rule(
            name=f"scans that show {region}",
            value=scans[region],
            expected="at least 1",
            passed=True if scans[region] else None,
        )


def _floor_rules(candidate: Evaluation, policy: Policy) -> Iterator[Rule]:
    summary, floors = candidate.summary, policy.floors
    worst = tuple(scan.case for scan in sorted(_labelled(candidate), key=lambda scan: scan.mean_dice or 0)[:_WORST])
    yield _floor("mean Dice (GT-present, scan mean)", summary.dice_scan_mean, floors.dice_scan_mean, worst)
    if floors.id_rate is not None:
        yield _floor("identification rate", summary.id_rate, floors.id_rate)
    if floors.all_correct_rate is not None:
        yield _floor("scans with all levels right", summary.all_correct_rate, floors.all_correct_rate)
    if floors.wrong_level_rate_at_most is not None:
        rate = summary.wrong_level_rate
        yield Rule(
            name="scans named at a wrong level",
            value=rate,
            expected=f"at most {floors.wrong_level_rate_at_most}",
            passed=None if rate is None else rate <= floors.wrong_level_rate_at_most,
            worst_cases=summary.wrong_level_cases[:_WORST],
        )
    for region in summary.regions:
        floor = floors.region_dice.get(region.name)
        if floor is not None and region.scans:
            yield _floor(f"mean Dice of {region.name}", region.dice, floor)


def _champion_rules(
    candidate: Evaluation, champion: Evaluation, policy: Policy, not_compared: list[str]
) -> Iterator[Rule]:
    settings = policy.champion
    pairs = paired_scans(candidate, champion)
    margin = settings.margin_overall if settings.rule == "non-inferior" else 0.0
    yield _difference_rule("mean Dice against the model in use", pairs, mean_dice, -margin, policy)
    for region, labels in REGIONS.items():
        score = region_dice(labels)
        shown = len(patient_differences(pairs, scan_differences(pairs, score)))
        if 0 < shown < settings.minimum_region_patients:
            not_compared.append(region)
        elif shown:
            yield _difference_rule(
                f"Dice of {region} against the model in use", pairs, score, -settings.margin_region, policy
            )


def _difference_rule(
    name: str, pairs: list[tuple[ScanScores, ScanScores]], score: Score, bound: float, policy: Policy
) -> Rule:
    differences = scan_differences(pairs, score)
    difference = paired_difference(patient_differences(pairs, differences), settings=policy.champion)
    return Rule(
        name=name,
        value=difference.mean,
        expected=f"lower bound of the {policy.champion.confidence:.0%} interval above {bound:g}",
        passed=_decided(difference, bound),
        difference=difference,
        worst_cases=tuple(sorted(differences, key=lambda case: differences[case])[:_WORST]),
    )


def _decided(difference: PairedDifference, bound: float) -> bool | None:
    if difference.low is None or difference.high is None:
        return None
    if difference.low > bound:
        return True
    return False if difference.high <= bound else None


def _labelled(evaluation: Evaluation) -> list[ScanScores]:
    return [scan for scan in evaluation.scans if scan.mean_dice is not None]


def _floor(name: str, value: float | None, floor: float, worst: tuple[str, ...] = ()) -> Rule:
    return Rule(
        name=name,
        value=value,
        expected=f"at least {floor}",
        passed=None if value is None else value >= floor,
        worst_cases=worst,
    )


def _in_words(outcome: Outcome, rules: list[Rule], candidate: Evaluation) -> str:
    dice = candidate.summary.dice_scan_mean
    score = "no scan with labels" if dice is None else f"mean Dice {dice:.3f} over {candidate.summary.scans} scans"
    if outcome == "pass":
        return f"pass: all {len(rules)} rules hold; {score}"
    decisive = [rule for rule in rules if rule.passed is (False if outcome == "fail" else None)]
    first = decisive[0]
    value = "nothing" if first.value is None else f"{first.value:.3g}"
    seen = first.difference.detectable if first.difference else None
    power = f"; smallest difference this test can see is {seen:.3f}" if seen is not None else ""
    return f"{outcome}: {first.name} is {value}, expected {first.expected}{power}; {score}"
