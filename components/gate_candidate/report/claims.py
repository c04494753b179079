"""What stands beside the rules: secondary tests, and claims about single vertebrae."""

from collections.abc import Sequence

from model_registry.verdict import ClassClaim, SecondaryTest, Verdict
from spine.drawing.markup import Column, Markup, number, signed, table, tag
from spine.labels import NAMES

_CLAIMS = {"better": "▲ better", "worse": "▼ worse", None: "no claim"}


def claims_parts(verdict: Verdict) -> list[Markup]:
    """Return the tables of secondary tests and claims, those that there are."""
    parts = []
    if verdict.secondary:
        parts.append(_tests_table(verdict.secondary))
    if verdict.claims:
        parts += [_claims_sentence(verdict.claims), _claims_table(verdict.claims)]
    return parts


def p_value(value: float | None) -> str:
    """Write a p-value; below a thousandth its digits say nothing."""
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def _tests_table(tests: Sequence[SecondaryTest]) -> Markup:
    columns = [Column("Test", "row"), Column("p-value"), Column("n"), Column("What it says", "words")]
    rows = [(test.name, p_value(test.p_value), str(test.patients_or_scans), test.said) for test in tests]
    return table("Secondary tests: they are told, and decide nothing (n: patients or scans)", columns, rows)


def _claims_sentence(claims: Sequence[ClassClaim]) -> Markup:
    better, worse = ([NAMES[claim.label] for claim in claims if claim.claim == kind] for kind in ("better", "worse"))
    said = [f"{kind} in {', '.join(names)}" for kind, names in (("better", better), ("worse", worse)) if names]
    text = f"The candidate is {' and '.join(said)}." if said else "No vertebra differs enough for a claim."
    return tag("p", f"{text} All {len(claims)} vertebrae compared are in the table; Holm's correction keeps the "
               "chance of any false claim among them at 5 %.")  # fmt: skip


def _claims_table(claims: Sequence[ClassClaim]) -> Markup:
    columns = [
        Column("Vertebra", "row"), Column("Patients"), Column("Difference of Dice"), Column("95 % interval"),
        Column("p"), Column("p after Holm"), Column("Claim", "words"),
    ]  # fmt: skip
    rows = [
        (
            NAMES[claim.label],
            str(claim.patients),
            signed(claim.difference.mean),
            f"{signed(claim.difference.low)} to {signed(claim.difference.high)}",
            p_value(claim.p_value),
            p_value(claim.p_holm),
            tag("strong", _CLAIMS[claim.claim]) if claim.claim else _CLAIMS[None],
        )
        for claim in claims
    ]
    return table("Vertebra by vertebra, candidate minus model in use", columns, rows)
