"""A verdict: every rule with its number, interval and threshold, and what came of them together."""

from typing import Literal

from model_registry.statistics import PairedDifference
from spine.records import Record
from spine.values import Value

Outcome = Literal["pass", "fail", "inconclusive"]


class Rule(Value):
    """One rule of a policy as it was applied; ``passed`` is None where the evidence can't decide."""

    name: str
    value: float | None
    expected: str
    passed: bool | None
    difference: PairedDifference | None = None
    worst_cases: tuple[str, ...] = ()


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
    scans: int
    rules: tuple[Rule, ...]
    regions_without_cases: tuple[str, ...]
    regions_not_compared: tuple[str, ...]
    """Regions that too few scans show to compare the candidate with the model in use there."""
    summary: str
