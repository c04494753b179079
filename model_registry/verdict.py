"""A verdict: every rule with its number, interval and threshold, and what came of them together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from model_registry.first_rules import with_rule_ids
from model_registry.statistics import Interval, PairedDifference
from spine.records import Record
from spine.storage import short
from spine.values import Value

Outcome = Literal["pass", "fail", "inconclusive"]
RuleKind = Literal["count", "score", "difference"]
WORST_CASES = 5
"""As many cases are named under a rule."""
OVERALL = "overall"
"""The part of the rule on all levels, among those that compare with the champion by region."""


class Rule(Value):
    """One rule of a policy as it was applied; ``passed`` is None where the evidence can't decide."""

    id: str
    """The field of the policy that sets the rule and, behind a dot, the part of the spine: it never changes."""
    kind: RuleKind
    """What ``value`` is: a count of cases, a score or a rate within 0-1, or a mean difference within -1..1."""
    name: str
    value: float | None
    expected: str
    passed: bool | None
    low: float | None = None
    """Lower end of the interval of ``value`` over patients; None where ``value`` is no mean or rate over scans."""
    high: float | None = None
    threshold: float | None = None
    """The number that ``value``, or the bound of the interval of ``difference``, is held to."""
    difference: PairedDifference | None = None
    more_cases: int | None = None
    """For an undecided rule: how many more cases like these would decide; None where no number would."""
    worst_cases: tuple[str, ...] = ()
    """Up to five cases, the one that hurts most first."""

    @property
    def part(self) -> str | None:
        """The part of the spine that the rule is on, such as ``L1-L5`` or ``T12``; None for all of it."""
        return self.id.partition(".")[2] or None


def bound_rule(
    rule_id: str,
    name: str,
    value: float | None,
    bound: float,
    *,
    interval: Interval | None = None,
    worst: tuple[str, ...] = (),
    at_most: bool = False,
) -> Rule:
    """Return the rule that holds a score itself to a bound; undecided where the score is not known."""
    reached = None if value is None else value <= bound if at_most else value >= bound
    low, high = interval or (None, None)
    return Rule(
        id=rule_id,
        kind="score",
        name=name,
        value=value,
        low=low,
        high=high,
        threshold=bound,
        expected=f"at {'most' if at_most else 'least'} {bound}",
        passed=reached,
        worst_cases=worst,
    )


class SecondaryTest(Value):
    """A test beside the rules: it is told, and decides nothing."""

    name: str
    p_value: float | None
    """Two-sided; 1 where nothing differs, None where nothing is known."""
    patients_or_scans: int
    said: str


class ClassClaim(Value):
    """What can be said of one class against the model in use, corrected for the number of classes."""

    label: int
    patients: int
    difference: PairedDifference
    p_value: float | None
    p_holm: float | None
    claim: Literal["better", "worse"] | None


class Verdict(Record):
    """What the gate says of one candidate under one policy; pure: same inputs, same bytes."""

    outcome: Outcome
    evaluation: str
    """Digest of the candidate's evaluation on the locked test set."""
    champion: str | None
    """Digest of the evaluation of the model in use, on the same scans."""
    policy_name: str
    policy: str
    """Digest of the policy."""
    policy_version: int = 1
    scans: int
    rules: tuple[Rule, ...]
    secondary: tuple[SecondaryTest, ...] = ()
    claims: tuple[ClassClaim, ...] = ()
    """One a label that enough patients show, in the order of the labels."""
    regions_without_cases: tuple[str, ...]
    levels_without_cases: tuple[str, ...] = ()
    regions_not_compared: tuple[str, ...]
    """Regions that too few scans show to compare the candidate with the model in use there."""
    summary: str

    @classmethod
    def from_stored(cls, content: Any, *, where: Path | str) -> Self:
        """Validate a stored verdict; rules of the first format, which had names only, get their ids."""
        if not isinstance(content, dict) or "format" in content:
            return super().from_stored(content, where=where)
        verdict = super().from_stored({**content, "rules": with_rule_ids(content.get("rules"))}, where=where)
        verdict.__dict__["content"] = content
        return verdict

    def follows_from(self, again: "Verdict") -> bool:
        """Tell whether ``again``, the same evidence judged anew, comes to this verdict.

        What counts are the digests of what was judged and each rule's id, value, threshold and decision; never words.
        ``again`` may have rules that a verdict of an earlier format lacks.
        """
        now = {rule.id: rule for rule in again.rules}
        then = [now.get(rule.id) for rule in self.rules]
        has_all = len(now) == len(then) or self.format < again.format
        return (
            has_all
            and all(
                other is not None and _decision(rule) == _decision(other)
                for rule, other in zip(self.rules, then, strict=True)
            )
            and (self.evaluation, self.champion, self.policy) == (again.evaluation, again.champion, again.policy)
            and (self.outcome, self.scans) == (outcome_of(self.rules), again.scans)
        )

    def folder_below(self, evaluation: Path) -> Path:
        """Return where the verdict and its evidence are kept, below the folder of the evaluation that it is on."""
        return evaluation / "verdicts" / short(self.digest)


def outcome_of(rules: Sequence[Rule]) -> Outcome:
    """Return what rules come to: one broken fails, whatever is undecided beside it; a pass needs all to hold."""
    if any(rule.passed is False for rule in rules):
        return "fail"
    return "inconclusive" if any(rule.passed is None for rule in rules) else "pass"


def _decision(rule: Rule) -> tuple[float | None, float | None, bool | None]:
    return rule.value, rule.threshold, rule.passed
