"""Markup: what enters is escaped, what is unknown is a dash."""

import pytest

from spine.drawing.markup import Column, Markup, count, joined, number, percent, shift_words, signed, table, tag
from spine.metrics.scores import ScanScores


def _scan(shift: int | None, bone_dice: float | None) -> ScanScores:
    return ScanScores(
        case="c", patient=None, labels=(), mean_dice=0.5, bone_dice=bone_dice, all_correct=None, level_shift=shift,
        false_positive_labels=0, false_positive_mm3=0.0, missing=False,
    )  # fmt: skip


def test_text_and_attributes_are_escaped_and_markup_is_not_escaped_twice() -> None:
    assert tag("p", "a < b", Markup("<br>"), title='"').html == '<p title="&quot;">a &lt; b<br></p>'
    assert joined(("&", Markup("&amp;")), ", ").html == "&amp;, &amp;"


def test_numbers_are_written_one_way_and_unknown_ones_are_a_dash() -> None:
    assert (number(-0.5), signed(0.25, digits=2), percent(0.125), count(12.0)) == ("−0.500", "+0.25", "12.5 %", "12")
    assert {number(None), signed(None), percent(None), count(None)} == {"–"}


def test_a_table_names_its_rows_and_columns() -> None:
    html = table("What", [Column("Name", "row"), Column("Value")], [("<x>", "1")], kind="rules").html
    assert '<th scope="row" class="row">&lt;x&gt;</th><td class="number">1</td>' in html
    assert '<table class="rules"><caption>What</caption>' in html


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("What", [Column("Name", "row")], [("a", "b")])


@pytest.mark.parametrize(
    ("shift", "bone_dice", "words"),
    [
        (0, 0.9, "named at the right level"),
        (1, 0.9, "named 1 level too low"),
        (-2, 0.9, "named 2 levels too high"),
        (None, 0.9, "no bone in common within three levels"),
        (None, 0.0, "no bone in common"),
        (None, None, "level not known"),
    ],
)
def test_the_level_is_said_in_words(shift: int | None, bone_dice: float | None, words: str) -> None:
    assert shift_words(_scan(shift, bone_dice)) == words
