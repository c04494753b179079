"""The gate: a pure function of a candidate's evaluation, the evaluation of the model in use, and a policy."""

from collections.abc import Sequence
from statistics import fmean

from model_registry.class_tests import class_claims, secondary_tests
from model_registry.differences import difference_rules
from model_registry.floors import floor_rules
from model_registry.input_checks import evidence_rules, require_sound
from model_registry.pairing import mean_dice, paired_scans, patient_scores
from model_registry.policy import Policy
from model_registry.statistics import MOST_CASES, bootstrap_of
from model_registry.verdict import Outcome, Rule, Verdict, outcome_of
from spine.metrics.scores import Evaluation, ScanScores

_DIGITS = 3


def judge(*, candidate: Evaluation, champion: Evaluation | None, policy: Policy) -> Verdict:
    """Judge ``candidate`` by the policy's floors, and against ``champion`` where there is one.

    One broken rule fails the candidate, whatever is undecided beside it; a pass needs every rule to hold. The order
    of the scans changes nothing but the digest of their evaluation.
    Raises EvidenceError where the two evaluations are not of the same scans, references and patients, or one
    contradicts itself.
    """
    for evaluation in (candidate, champion):
        if evaluation:
            require_sound(evaluation)
    bootstrap, settings = bootstrap_of(policy.champion), policy.champion
    scans = sorted(candidate.scans, key=lambda scan: scan.case)
    rules = [*evidence_rules(scans, policy), *floor_rules(scans, policy=policy, bootstrap=bootstrap)]
    pairs = paired_scans(candidate, champion) if champion else []
    not_compared: list[str] = []
    if champion:
        rules += difference_rules(pairs, settings=settings, bootstrap=bootstrap, not_compared=not_compared)
    outcome = outcome_of(rules)
    unseen = tuple(region.name for region in candidate.summary.regions if not region.scans)
    return Verdict(
        outcome=outcome,
        evaluation=candidate.digest,
        champion=champion.digest if champion else None,
        policy_name=policy.name,
        policy_version=policy.version,
        policy=policy.digest,
        scans=candidate.summary.scans_with_labels,
        rules=tuple(rules),
        secondary=secondary_tests(pairs) if champion else (),
        claims=class_claims(pairs, settings=settings, bootstrap=bootstrap) if champion else (),
        regions_without_cases=unseen,
        levels_without_cases=tuple(level.name for level in candidate.summary.labels if not level.scans),
        regions_not_compared=tuple(not_compared),
        summary=_in_words(outcome, rules, scans, unseen=unseen, not_compared=not_compared),
    )


def _in_words(
    outcome: Outcome, rules: list[Rule], scans: list[ScanScores], *, unseen: Sequence[str], not_compared: Sequence[str]
) -> str:
    said = [f"pass: all {len(rules)} rules hold"]
    if outcome != "pass":
        decisive = [rule for rule in rules if rule.passed is (False if outcome == "fail" else None)]
        said = [f"{outcome}: {_first(decisive[0])}"]
        if len(decisive) > 1:
            said.append(f"{len(decisive) - 1} more {'broken' if outcome == 'fail' else 'undecided'}")
    dices, unit = patient_scores(scans, mean_dice), "patients" if any(scan.patient for scan in scans) else "scans"
    said.append(f"mean Dice {fmean(dices):.3f} over {len(dices)} {unit}" if dices else "no scan with labels")
    if unseen:
        said.append(f"nothing is said of {', '.join(unseen)}: no scan shows them")
    if not_compared:
        said.append(f"not compared in {', '.join(not_compared)}: too few patients show them")
    return "; ".join(said)


def _first(rule: Rule) -> str:
    value = "not known" if rule.value is None else f"{rule.value:.3g}"
    said = f"{rule.name} is {value}, expected {rule.expected}"
    if rule.difference and round(rule.difference.detectable or 0, _DIGITS):
        said += f"; smallest difference this test can see is {rule.difference.detectable:.{_DIGITS}f}"
    if rule.passed is None and rule.more_cases:
        cases = "case like these" if rule.more_cases == 1 else "cases like these"
        said += f"; about {rule.more_cases} more {cases} would decide"
    elif rule.passed is None and rule.difference and rule.low is not None:
        said += f"; no number of cases up to {MOST_CASES} more would decide"
    return said
