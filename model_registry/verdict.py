"""A verdict: every rule with its number, interval and threshold, and what came of them together."""

from pathlib import Path
from typing import Literal

from model_registry.statistics import Interval, PairedDifference
from spine.records import Record
from spine.storage import short
from spine.values import Value

Outcome = Literal["pass", "fail", "inconclusive"]
WORST_CASES = 5
"""As many cases are named under a rule."""


class Rule(Value):
    """One rule of a policy as it was applied; ``passed`` is None where the evidence can't decide."""

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


def bound_rule(
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

    def folder_below(self, evaluation: Path) -> Path:
        """Return where the verdict and its evidence are kept, below the folder of the evaluation that it is on."""
        return evaluation / "verdicts" / short(self.digest)
