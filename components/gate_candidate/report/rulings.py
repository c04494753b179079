"""What the gate said, in HTML: the band, the rules, what went unseen, and the evidence."""

from collections.abc import Sequence

from model_registry.statistics import PairedDifference
from model_registry.verdict import Rule, Verdict
from spine.drawing.markup import (
    NOTHING,
    Column,
    Markup,
    count,
    joined,
    number,
    signed,
    table,
    tag,
)
from spine.metrics.scores import Evaluation

OUTCOMES = {
    "pass": ("✓", "PASS", "The candidate meets every rule of the policy."),
    "fail": ("✗", "FAIL", "The candidate breaks at least one rule of the policy."),
    "inconclusive": ("?", "INCONCLUSIVE", "No rule is broken, but the evidence is too thin to decide all of them."),
}
_DECISIONS = {True: ("yes", "✓ holds"), False: ("no", "✗ fails"), None: ("open", "? can't tell")}


def verdict_band(verdict: Verdict) -> Markup:
    """Return the band with the outcome: a sign, a word and a border of its own, besides the colour."""
    sign, word, meaning = OUTCOMES[verdict.outcome]
    return tag(
        "div",
        tag("span", sign, class_="sign", aria_hidden="true"),
        tag("div", tag("p", word, class_="word"), tag("p", meaning, class_="meaning")),
        tag("p", _sentence(verdict), class_="summary"),
        class_=f"band {verdict.outcome}",
    )


def rules_table(verdict: Verdict) -> Markup:
    """Return every rule as it was applied."""
    rows = [
        (
            rule.name,
            _rule_value(rule),
            _interval(rule.difference),
            rule.expected,
            tag("span", _DECISIONS[rule.passed][1], class_=f"decision {_DECISIONS[rule.passed][0]}"),
            ", ".join(rule.worst_cases) or NOTHING,
        )
        for rule in verdict.rules
    ]
    columns = [
        Column("Rule", "row"), Column("Found"), Column("Interval"), Column("Expected", "words"),
        Column("Decision", "words"), Column("Worst cases", "words"),
    ]  # fmt: skip
    return table(f"Rules of policy {verdict.policy_name}, over {verdict.scans} scans with labels", columns, rows)


def unseen_regions(verdict: Verdict) -> Markup:
    """Say plainly of which regions the test set shows nothing."""
    regions = verdict.regions_without_cases
    if not regions:
        return tag("p", "Every region of the spine is shown by at least one test scan.")
    return tag(
        "p",
        tag("strong", f"Nothing can be said about {_listed(regions)}: "),
        f"no test scan shows {'it' if len(regions) == 1 else 'them'}.",
        class_="unseen",
    )


def footer(candidate: Evaluation, verdict: Verdict) -> Markup:
    """Return what the report is for, and the digests of what it was made from."""
    digests = [
        (f"Evaluation of {candidate.name}", verdict.evaluation),
        (f"Policy {verdict.policy_name}", verdict.policy),
        ("Evaluation of the model in use", verdict.champion or "none: no model was in use"),
        ("Verdict", verdict.digest),
    ]
    rows = [joined((tag("dt", name), tag("dd", tag("code", digest)))) for name, digest in digests]
    aim = tag("p", tag("strong", "For research and decision support, not for clinical use."))
    return tag("footer", aim, tag("dl", *rows))


def _sentence(verdict: Verdict) -> str:
    words = verdict.summary.removeprefix(f"{verdict.outcome}: ")
    return words[:1].upper() + words[1:] + "."


def _rule_value(rule: Rule) -> str:
    if rule.difference:
        return signed(rule.value)
    # A count of 1 and a score of 1 look alike, but a count is expected in whole numbers.
    whole = rule.expected == "none" or rule.expected.rsplit(" ", 1)[-1].isdigit()
    return count(rule.value) if whole else number(rule.value)


def _interval(difference: PairedDifference | None) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return NOTHING
    return f"{signed(difference.low)} to {signed(difference.high)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
