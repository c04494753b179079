"""The rules that hold a candidate against the model in use: differences on the same scans, overall and by region."""

from collections.abc import Iterator

from model_registry.bootstrap import Bootstrap
from model_registry.pairing import Pair, Score, mean_dice, patient_differences, region_dice, scan_differences
from model_registry.policy import AgainstChampion
from model_registry.statistics import decided, more_patients, paired_difference
from model_registry.verdict import OVERALL, WORST_CASES, Rule
from spine.labels import REGIONS


def difference_rules(
    pairs: list[Pair], *, settings: AgainstChampion, bootstrap: Bootstrap, not_compared: list[str]
) -> Iterator[Rule]:
    """Yield the rule overall, non-inferior or superior as the policy says, and non-inferiority in every region.

    All must hold for a pass. That is an intersection-union test (Berger 1982): each rule keeps its own level
    and none needs a correction, for the gate errs only where every rule errs at once. A region that some but
    too few patients show is appended to ``not_compared``.
    """
    for part, score, bound in compared_scores(settings):
        shown = len(patient_differences(pairs, scan_differences(pairs, score)))
        if part == OVERALL or shown >= settings.minimum_region_patients:
            yield difference_rule(part, pairs, score=score, bound=bound, settings=settings, bootstrap=bootstrap)
        elif shown:
            not_compared.append(part)


def compared_scores(settings: AgainstChampion) -> Iterator[tuple[str, Score, float]]:
    """Yield what is compared: the part of the spine, the score of a scan, and the bound below the interval."""
    yield OVERALL, mean_dice, -settings.margin_overall if settings.rule == "non-inferior" else 0.0
    for region, labels in REGIONS.items():
        yield region, region_dice(labels), -settings.margin_region


def compared_name(part: str) -> str:
    """Return the name of the score that is compared in a part of the spine."""
    return "mean Dice" if part == OVERALL else f"Dice of {part}"


def difference_rule(
    part: str, pairs: list[Pair], *, score: Score, bound: float, settings: AgainstChampion, bootstrap: Bootstrap
) -> Rule:
    """Return one rule: it holds with the whole interval above ``bound``, fails with none of it, else is undecided."""
    differences = scan_differences(pairs, score)
    difference = paired_difference(patient_differences(pairs, differences), settings=settings, bootstrap=bootstrap)
    passed = decided(difference, bound)
    worse = [case for case in differences if differences[case] < 0]
    return Rule(
        id=f"champion.{part}",
        kind="difference",
        name=f"{compared_name(part)} against the model in use",
        value=difference.mean,
        low=difference.low,
        high=difference.high,
        threshold=bound + 0.0,
        expected=f"lower bound of the {settings.confidence:.0%} interval above {bound + 0.0:g}",
        passed=passed,
        difference=difference,
        more_cases=more_patients(difference, bound) if passed is None else None,
        worst_cases=tuple(sorted(worse, key=lambda case: differences[case])[:WORST_CASES]),
    )
