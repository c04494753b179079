"""A verdict in the terminal: its worst cases, and p values that are never 0."""

import pytest

from model_registry.verdict import Rule, SecondaryTest
from pipelines import verdicts


def test_the_five_worst_cases_of_a_rule_are_shown() -> None:
    cases = tuple(f"case_{number}" for number in range(5))
    rule = Rule(
        id="dice_scan_mean",
        kind="score",
        name="mean Dice",
        value=0.6,
        expected="at least 0.7",
        passed=False,
        worst_cases=cases,
    )
    columns, rows = verdicts.rule_table([rule])
    assert rows[0][columns.index("worst cases")] == "case_0 case_1 case_2 case_3 case_4"


@pytest.mark.parametrize(
    ("p_value", "told"),
    [(0.0, "said (p < 0.001)"), (9e-4, "said (p < 0.001)"), (0.0123, "said (p = 0.0123)"), (1.0, "said (p = 1)"),
     (None, "said")],
)  # fmt: skip
def test_a_p_value_is_told_with_as_many_digits_as_say_something(p_value: float | None, told: str) -> None:
    test = SecondaryTest(name="Wilcoxon", p_value=p_value, patients_or_scans=30, said="said")
    assert verdicts.tests_in_words([test]) == [f"Wilcoxon: {told}"]
