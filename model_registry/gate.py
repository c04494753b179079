"""The gate: a pure function of a candidate's evaluation, the evaluation of the model in use, and a policy."""

from collections import Counter
from collections.abc import Iterator, Sequence

from model_registry.claims import class_claims, secondary_tests
from model_registry.differences import difference_rules
from model_registry.errors import EvidenceError
from model_registry.floors import floor_rules
from model_registry.pairing import paired_scans
from model_registry.policy import Policy
from model_registry.statistics import MOST_CASES, bootstrap_of
from model_registry.verdict import WORST_CASES, Outcome, Rule, Verdict
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize


def judge(*, candidate: Evaluation, champion: Evaluation | None, policy: Policy) -> Verdict:
    """Judge ``candidate`` by the policy's floors, and against ``champion`` where there is one.

    One broken rule fails the candidate, whatever is undecided beside it; a pass needs every rule to hold.
    Raises EvidenceError where the two evaluations are not of the same scans, or one is not what its scans make it.
    """
    for evaluation in (candidate, champion):
        if evaluation:
            _require_sound(evaluation)
    bootstrap, settings = bootstrap_of(policy.champion), policy.champion
    rules = [*_evidence_rules(candidate, policy), *floor_rules(candidate, policy=policy, bootstrap=bootstrap)]
    pairs = paired_scans(candidate, champion) if champion else []
    not_compared: list[str] = []
    if champion:
        rules += difference_rules(pairs, settings=settings, bootstrap=bootstrap, not_compared=not_compared)
    outcome = _outcome(rules)
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
        summary=_in_words(outcome, rules, candidate, unseen=unseen, not_compared=not_compared),
    )


def _require_sound(evaluation: Evaluation) -> None:
    """Refuse a summary that its scans don't come to, and a scan that counts twice: files can be edited."""
    if summarize(evaluation.scans) != evaluation.summary:
        raise EvidenceError(f"'{evaluation.name}': its summary does not follow from its {len(evaluation.scans)} scans")
    cases = Counter(scan.case for scan in evaluation.scans)
    twice = next((case for case, count in cases.items() if count > 1), None)
    if twice is not None:
        raise EvidenceError(f"'{evaluation.name}': case {twice} is there {cases[twice]} times; expected once")


def _evidence_rules(candidate: Evaluation, policy: Policy) -> Iterator[Rule]:
    summary = candidate.summary
    yield _at_least("scans with labels", summary.scans_with_labels, policy.minimum_scans)
    yield Rule(
        name="missing predictions",
        value=len(summary.missing_predictions),
        threshold=0,
        expected="none",
        passed=not summary.missing_predictions,
        worst_cases=summary.missing_predictions[:WORST_CASES],
    )
    shown = {group.name: group.scans for group in (*summary.regions, *summary.labels)}
    for name in (*policy.required_regions, *policy.required_levels):
        yield _at_least(f"scans that show {name}", shown[name], 1)


def _at_least(name: str, scans: int, needed: int) -> Rule:
    enough = scans >= needed
    return Rule(
        name=name,
        value=scans,
        threshold=needed,
        expected=f"at least {needed}",
        passed=True if enough else None,
        more_cases=None if enough else needed - scans,
    )


def _outcome(rules: list[Rule]) -> Outcome:
    if any(rule.passed is False for rule in rules):
        return "fail"
    return "inconclusive" if any(rule.passed is None for rule in rules) else "pass"


def _in_words(
    outcome: Outcome, rules: list[Rule], candidate: Evaluation, *, unseen: Sequence[str], not_compared: Sequence[str]
) -> str:
    said = [f"pass: all {len(rules)} rules hold"]
    if outcome != "pass":
        decisive = [rule for rule in rules if rule.passed is (False if outcome == "fail" else None)]
        said = [f"{outcome}: {_first(decisive[0])}"]
        if len(decisive) > 1:
            said.append(f"{len(decisive) - 1} more {'broken' if outcome == 'fail' else 'undecided'}")
    dice, scans = candidate.summary.dice_scan_mean, candidate.summary.scans
    said.append("no scan with labels" if dice is None else f"mean Dice {dice:.3f} over {scans} scans")
    if unseen:
        said.append(f"nothing is said of {', '.join(unseen)}: no scan shows them")
    if not_compared:
        said.append(f"not compared in {', '.join(not_compared)}: too few patients show them")
    return "; ".join(said)


def _first(rule: Rule) -> str:
    value = "not known" if rule.value is None else f"{rule.value:.3g}"
    said = f"{rule.name} is {value}, expected {rule.expected}"
    if rule.difference and rule.difference.detectable is not None:
        said += f"; smallest difference this test can see is {rule.difference.detectable:.3f}"
    if rule.passed is None and rule.more_cases:
        said += f"; about {rule.more_cases} more cases like these would decide"
    elif rule.passed is None and rule.difference:
        said += f"; no number of cases up to {MOST_CASES} more would decide"
    return said
