"""What the gate said, in HTML: the band, the rules, what went unseen, and the evidence."""

from collections.abc import Sequence

from components.gate_candidate.report import parts
from components.gate_candidate.report.differences import DifferenceRow
from model_registry.verdict import OVERALL, Rule, Verdict
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
from spine.labels import NAMES, REGIONS
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
    """Return every rule as it was applied, with what would decide it and the cases that hurt most."""
    rows = [
        (
            joined((rule.name, tag("span", rule.expected, class_="ci"))),
            _rule_value(rule, rule.value),
            _interval(rule),
            rule.expected if rule.threshold is None else _rule_value(rule, rule.threshold),
            tag("span", _DECISIONS[rule.passed][1], class_=f"decision {_DECISIONS[rule.passed][0]}"),
            NOTHING if rule.more_cases is None else f"{rule.more_cases}",
            _worst_cases(rule),
        )
        for rule in verdict.rules
    ]
    columns = [
        Column("Rule, and what it expects", "row"), Column("Found"), Column("95 % interval"), Column("Threshold"),
        Column("Decision", "words"), Column("More cases to decide"), Column("Worst five cases", "words"),
    ]  # fmt: skip
    caption = f"Rules of policy {verdict.policy_name}, version {verdict.policy_version}, "
    return table(f"{caption}over {verdict.scans} scans with labels", columns, rows, kind="rules")


def difference_rows(verdict: Verdict) -> list[DifferenceRow]:
    """Return the rules that compare with the model in use, as rows of the chart."""
    return [
        DifferenceRow(
            name="mean Dice" if rule.part in (None, OVERALL) else rule.part,
            difference=rule.difference,
            bound=rule.threshold,
            passed=rule.passed,
        )
        for rule in verdict.rules
        if rule.difference
    ]


def unseen(verdict: Verdict) -> Markup:
    """Say plainly of which regions and levels the test set shows nothing, and which it shows too rarely to compare."""
    inside = {NAMES[label] for region in verdict.regions_without_cases for label in REGIONS[region]}
    levels = [level for level in verdict.levels_without_cases if level not in inside]
    names = [*verdict.regions_without_cases, *levels]
    said = [_unshown(names)] if names else [tag("p", "Every level of the spine is shown by at least one test scan.")]
    if verdict.regions_not_compared:
        few = f"Too few test scans show {_listed(verdict.regions_not_compared)} to compare the two models there."
        said.append(tag("p", few, class_="unseen"))
    return joined(said)


def _unshown(names: Sequence[str]) -> Markup:
    return tag(
        "p",
        tag("strong", f"Nothing can be said about {_listed(names)}: "),
        f"no test scan shows {'it' if len(names) == 1 else 'them'}.",
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
    return parts.footer(digests)


def _sentence(verdict: Verdict) -> str:
    return verdict.summary[:1].upper() + verdict.summary[1:] + "."


def _rule_value(rule: Rule, value: float | None) -> str:
    if rule.kind == "difference":
        return signed(value)
    return count(value) if rule.kind == "count" else number(value)


def _worst_cases(rule: Rule) -> Markup | str:
    # In one piece each: where long names break, one can't see which parts belong together.
    *others, last = rule.worst_cases or (NOTHING,)
    return joined([tag("span", case, class_="case") for case in (*(f"{case}," for case in others), last)], " ")


def _interval(rule: Rule) -> str:
    if rule.low is not None and rule.high is not None:
        return f"{_rule_value(rule, rule.low)} to {_rule_value(rule, rule.high)}"
    found = rule.difference
    if found is None or found.low is None or found.high is None:
        return NOTHING
    return f"{signed(found.low)} to {signed(found.high)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
