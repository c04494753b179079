"""Post-processing with and without: what each alternative scores, and which was chosen on the folds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from spine.drawing.markup import Column, Markup, joined, number, percent, section, table, tag
from spine.metrics.postprocessing_variants import Alternative
from spine.metrics.scores import Summary

_SHOWN: Final[tuple[tuple[str, Callable[[Summary], str]], ...]] = (
    ("all levels right", lambda s: percent(s.all_correct_rate)),
    ("ID rate", lambda s: percent(s.id_rate)),
    ("Dice", lambda s: number(s.dice_scan_mean)),
    ("misnamed", lambda s: percent(s.misnamed_rate)),
)


def postprocessing_section(alternatives: Sequence[Alternative]) -> list[Markup]:
    """Return the section on post-processing; nothing where no alternatives were scored."""
    if not alternatives:
        return []
    chosen = [alternative.name for alternative in alternatives if alternative.chosen]
    words = (
        "The choice was made on the out-of-fold scans alone; on the locked test set the chosen way is "
        "told beside none, and nothing is chosen. "
        "ID rate: vertebrae identified; Dice: GT-present, scan mean; misnamed: bone that was found but mostly has "
        "another name."
    )
    first = f"Chosen: {chosen[0]}. " if chosen else "None was chosen. "
    columns = [Column("Post-processing", "row"), Column("Scans", "words"), *(Column(name) for name, _ in _SHOWN)]
    rows = [row for alternative in alternatives for row in _rows(alternative)]
    shown = table("Scores with each post-processing", columns, rows)
    return [section("Post-processing, with and without", tag("p", first + words), shown)]


def _rows(alternative: Alternative) -> Iterator[list[str | Markup]]:
    mark = tag("strong", " ✓ chosen") if alternative.chosen else ""
    if alternative.out_of_fold:
        yield [joined((alternative.name, mark)), "out of fold", *_scores(alternative.out_of_fold)]
    if alternative.test:
        yield [tag("span", alternative.name, class_="again"), "locked test set", *_scores(alternative.test)]


def _scores(summary: Summary) -> list[str]:
    return [read(summary) for _, read in _SHOWN]
