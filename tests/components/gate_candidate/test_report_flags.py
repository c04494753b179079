"""Whether margins and flags fit what was named right."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from components.gate_candidate.report.flags import (
    FlagCount,
    catch_sentence,
    flag_counts,
    flags_table,
    has_decoding,
    margin_bins,
)
from components.gate_candidate.report.parts import flags_section
from spine.metrics.scores import Evaluation, FoundVertebra, ScanScores
from spine.metrics.summary import summarize

Vertebra = tuple[int, int, float, tuple[str, ...]]
"""Label, what it covers, margin, flags."""
DOUBT, NO_DOUBT = "any flag but “cut at the border” alone", "no flag, or “cut at the border” alone"


def _evaluation(*scans: Sequence[Vertebra]) -> Evaluation:
    made = tuple(
        ScanScores(
            case=f"c{number:03d}", patient=None, mean_dice=0.5, bone_dice=0.5, all_correct=None, level_shift=0,
            false_positive_labels=0, false_positive_mm3=0.0, missing=False, labels=(),
            vertebrae=tuple(
                FoundVertebra(label=label, was=label, covers=covers, voxels=1000, margin=margin, flags=flags)
                for label, covers, margin, flags in vertebrae
            ),
        )
        for number, vertebrae in enumerate(scans)
    )  # fmt: skip
    return Evaluation(name="x", scans=made, summary=summarize(made))


def test_flags_are_counted_with_the_wrong_names_among_them() -> None:
    found = flag_counts(
        _evaluation(
            [(20, 21, 0.1, ("low margin", "renamed")), (20, 20, 0.2, ("low margin",))],
            [(21, 0, 5.0, ()), (22, 22, 9.0, ())],
        )
    )
    assert found == [
        FlagCount("low margin", flagged=2, wrong=1),
        FlagCount("renamed", flagged=1, wrong=1),
        FlagCount(DOUBT, flagged=2, wrong=1),
        FlagCount(NO_DOUBT, flagged=2, wrong=1),
    ]


def test_two_vertebrae_of_one_name_are_judged_one_by_one() -> None:
    twice = _evaluation([(20, 20, 9.0, ()), (20, 21, 0.5, ("repeated level",)), (22, 22, 9.0, ())])
    assert flag_counts(twice)[-2:] == [FlagCount(DOUBT, flagged=1, wrong=1), FlagCount(NO_DOUBT, flagged=2, wrong=0)]
    (only,) = margin_bins(twice)
    assert (only.vertebrae, only.right) == (3, 2)


def test_a_wrong_name_that_is_only_cut_at_the_border_was_not_caught() -> None:
    cut = ("cut at the border",)
    found = _evaluation([(20, 21, 9.0, cut), (21, 22, 1.0, (*cut, "low margin")), (22, 0, 9.0, ()), (23, 23, 9.0, cut)])
    assert flag_counts(found)[-2:] == [FlagCount(DOUBT, flagged=1, wrong=1), FlagCount(NO_DOUBT, flagged=3, wrong=2)]
    said = catch_sentence(found).html
    assert "3 of the 4 vertebrae of the prediction are named wrong, 1 of them because they lie on no vertebra" in said
    assert "1 of these 3 (33.3 %) bore a flag" in said
    assert "None of the 1 vertebrae" in catch_sentence(_evaluation([(23, 23, 9.0, cut)])).html


def test_the_table_says_which_share_of_the_wrong_names_was_flagged() -> None:
    html = flags_table(_evaluation([(20, 21, 0.1, ("low margin",)), (20, 21, 4.0, ()), (20, 20, 4.0, ())])).html
    row = html[html.index("low margin") :].split("</tr>")[0]
    assert "100.0 %" in row and "1 of 2" in row and "50.0 %" in row


def test_bins_hold_all_vertebrae_in_the_order_of_their_margins() -> None:
    bins = margin_bins(_evaluation([(20, 20 if number >= 10 else 21, float(number), ()) for number in range(75)]))
    assert [found.vertebrae for found in bins] == [15] * 5
    assert [found.right for found in bins] == [5, 15, 15, 15, 15]
    assert all(lower.high < upper.low for lower, upper in pairwise(bins))


def test_equal_margins_stay_in_one_bin_and_few_vertebrae_make_one() -> None:
    assert [found.vertebrae for found in margin_bins(_evaluation([(20, 20, 1.0, ())] * 80))] == [80]
    assert [found.vertebrae for found in margin_bins(_evaluation([(20, 20, 1.0, ()), (20, 20, 2.0, ())]))] == [2]


def test_the_section_says_plainly_when_nothing_was_decoded(
    realistic: Callable[..., tuple[Evaluation, ...]], counted: Callable[[Evaluation], Evaluation]
) -> None:
    unknown = counted(realistic(scans=3)[0])
    assert not has_decoding(unknown)
    section = flags_section(unknown).html
    assert "Nothing was decoded" in section and "<img" not in section


def test_surer_names_of_a_realistic_evaluation_are_right_more_often(
    realistic: Callable[..., tuple[Evaluation, ...]],
) -> None:
    candidate, _ = realistic()
    bins = margin_bins(candidate)
    assert bins[0].share_right < bins[-1].share_right
    section = flags_section(candidate).html
    for text in (f"{bins[0].share_right:.0%}", "low margin", DOUBT, NO_DOUBT, "bore a flag", "<img"):
        assert text in section
