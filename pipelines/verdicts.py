"""A verdict as a terminal shows it: one row a rule, with its interval, what was expected and the worst cases."""

from collections.abc import Sequence

from model_registry.verdict import WORST_CASES, ClassClaim, Rule, SecondaryTest
from spine.labels import NAMES

_DECISIONS = {True: "holds", False: "BROKEN", None: "undecided"}
_SMALLEST_P = 0.001
"""Below it, digits of a p value say nothing; and it is never 0."""


def rule_table(rules: Sequence[Rule]) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the columns and a row a rule; a column that no rule fills is left out, but for the first and last ones."""
    columns = ("rule", "value", "interval", "expected", "decision", "more cases", "worst cases")
    optional = {"interval", "more cases"}
    rows = [_row(rule) for rule in rules]
    shown = [
        place
        for place, column in enumerate(columns)
        if column not in optional or any(row[place] is not None for row in rows)
    ]
    return [columns[place] for place in shown], [tuple(row[place] for place in shown) for row in rows]


def tests_in_words(tests: Sequence[SecondaryTest]) -> list[str]:
    """Say what the tests beside the rules found."""
    return [f"{test.name}: {test.said}{_chance(test.p_value)}" for test in tests]


def claims_in_words(claims: Sequence[ClassClaim]) -> list[str]:
    """Name the vertebrae of which it can be said that they are better or worse than in the model in use."""
    named = {
        claim: ", ".join(NAMES[each.label] for each in claims if each.claim == claim) for claim in ("better", "worse")
    }
    return [f"{claim} than the model in use on {names}" for claim, names in named.items() if names]


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return ""
    return f" (p < {_SMALLEST_P:g})" if p_value < _SMALLEST_P else f" (p = {p_value:.3g})"


def _row(rule: Rule) -> tuple[object, ...]:
    return (
        rule.name,
        rule.value,
        _interval(rule),
        rule.expected,
        _DECISIONS[rule.passed],
        rule.more_cases,
        " ".join(rule.worst_cases[:WORST_CASES]),
    )


def _interval(rule: Rule) -> str | None:
    low, high = rule.low, rule.high
    if (low is None or high is None) and rule.difference:
        low, high = rule.difference.low, rule.difference.high
    return None if low is None or high is None else f"{low:.3f} to {high:.3f}"
