"""What is told beside the rules and decides nothing: claims by class, and the secondary tests."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model_registry.bootstrap import Bootstrap, same_everywhere
from model_registry.pairing import Pair, mean_dice, patient_differences, region_dice, scan_differences
from model_registry.policy import AgainstChampion
from model_registry.statistics import PairedDifference, paired_differences
from model_registry.verdict import ClassClaim, SecondaryTest
from spine.labels import NAMES

_DIGITS = 12
"""Differences are compared to this many digits, lest rounding makes or breaks a tie."""
_EXACT = 50
_PERMUTED = 13
"""As many values have an exact distribution, and with ties or zeros as many have all signs tried."""


def class_claims(pairs: list[Pair], *, settings: AgainstChampion, bootstrap: Bootstrap) -> tuple[ClassClaim, ...]:
    """Return for each label that enough patients show what can be claimed of it against the model in use.

    The p values are Wilcoxon's (1945), whom a single misnamed vertebra can't sway, corrected for the number of
    labels by Holm (1979). "better" and "worse" need a corrected p value below 1 - confidence and an interval
    of the mean that leaves out 0 on that side.
    """
    samples = {label: patient_differences(pairs, scan_differences(pairs, region_dice((label,)))) for label in NAMES}
    shown = {label: sample for label, sample in samples.items() if len(sample) >= settings.minimum_region_patients}
    differences = paired_differences(list(shown.values()), settings=settings, bootstrap=bootstrap)
    p_values = [signed_rank_p(sample) for sample in shown.values()]
    return tuple(
        ClassClaim(
            label=label,
            patients=difference.patients,
            difference=difference,
            p_value=p_value,
            p_holm=p_holm,
            claim=_claim(difference, p_holm, settings),
        )
        for label, difference, p_value, p_holm in zip(shown, differences, p_values, holm(p_values), strict=True)
    )


def secondary_tests(pairs: list[Pair]) -> tuple[SecondaryTest, ...]:
    """Return Wilcoxon's signed rank test of the mean Dice, and the exact McNemar test of all levels right."""
    differences = patient_differences(pairs, scan_differences(pairs, mean_dice))
    p_value = signed_rank_p(differences) if differences else None
    better, worse = (sum(1 for each in differences if sign * round(each, _DIGITS) > 0) for sign in (1, -1))
    wilcoxon = SecondaryTest(
        name="Wilcoxon signed rank",
        p_value=p_value,
        patients_or_scans=len(differences),
        said=f"mean Dice is higher in {better} and lower in {worse} of {len(differences)} patients",
    )
    return wilcoxon, _mcnemar(pairs)


def signed_rank_p(differences: Sequence[float]) -> float:
    """Return the two-sided p value of Wilcoxon's signed rank test; zeros are left out, 1 if nothing else is there.

    It is that of SciPy's "auto", whose loop over the assignments of signs takes seconds: exact without ties or zeros
    up to 50 values and with them up to 13, else asymptotic.
    """
    values = np.round(np.asarray(differences, dtype=np.float64), _DIGITS)
    sizes = np.abs(values[values != 0])
    if not sizes.size:
        return 1.0
    has_ties_or_zeros = np.unique(sizes).size < values.size
    if has_ties_or_zeros and values.size <= _PERMUTED:
        return same_everywhere(_permuted_p(values[values != 0]))
    method = "asymptotic" if has_ties_or_zeros or values.size > _EXACT else "exact"
    return same_everywhere(stats.wilcoxon(values, method=method).pvalue)


def _permuted_p(values: NDArray[np.float64]) -> float:
    """Return the exact p value: the share of all assignments of signs whose rank sum is as far out, twice."""
    ranks = stats.rankdata(np.abs(values))
    is_positive = np.arange(2**values.size)[:, np.newaxis] >> np.arange(values.size) & 1
    sums, seen = is_positive @ ranks, ranks[values > 0].sum()
    return float(min(1.0, 2 * min(np.mean(sums >= seen), np.mean(sums <= seen))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected by Holm's step-down method (1979), in the order given."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = same_everywhere(largest)
    return corrected


def _claim(difference: PairedDifference, p_holm: float, settings: AgainstChampion) -> Literal["better", "worse"] | None:
    if p_holm > 1 - settings.confidence or difference.low is None or difference.high is None:
        return None
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else None


def _mcnemar(pairs: list[Pair]) -> SecondaryTest:
    """Compare the scans that only one of the two models gets right (McNemar 1947, exact).

    Scans of one patient count one by one, as in the rates of scans with all levels right.
    """
    rights = [
        (new.all_correct, old.all_correct)
        for new, old in pairs
        if new.all_correct is not None and old.all_correct is not None
    ]
    only_new, only_old = (rights.count(pair) for pair in ((True, False), (False, True)))
    differ = only_new + only_old
    p_value = same_everywhere(stats.binomtest(only_new, differ).pvalue) if differ else 1.0
    return SecondaryTest(
        name="exact McNemar, all levels right",
        p_value=p_value if rights else None,
        patients_or_scans=len(rights),
        said=f"of {len(rights)} scans, those of one patient counted one by one, right with the candidate "
        f"only: {only_new}; with the model in use only: {only_old}"
        if rights
        else "not known of both models",
    )
