"""The page of a comparison: two models or more side by side, the first being what the others are held to."""

from collections.abc import Sequence
from pathlib import Path

from components.gate_candidate.report import flags, parts, scores
from components.gate_candidate.report.differences import Contrast, differences_table
from components.gate_candidate.report.entrants import Entrant
from components.gate_candidate.report.levels import levels_summary, levels_table
from components.gate_candidate.report.regions import regions_table
from spine.drawing.markup import Column, Markup, number, section, table, tag
from spine.storage import write_text


def write_comparison(*, path: Path, entrants: Sequence[Entrant], contrasts: Sequence[Contrast]) -> None:
    """Write the page to ``path``, whole or not at all; ``contrasts`` are the later entrants minus the first."""
    names = [entrant.name for entrant in entrants]
    title = f"Comparison of {', '.join(names[:-1])} and {names[-1]}"
    body = [
        tag("header", tag("h1", title), _about(entrants)),
        section("Scores", scores.headline_table(entrants)),
        *(_contrast(entrant, entrants[0], found) for entrant, found in zip(entrants[1:], contrasts, strict=True)),
        section("Regions and levels", regions_table(entrants), parts.boxes_figure(entrants)),
        section("What vertebrae are called", tag("div", *map(_levels, entrants), class_="pair matrices")),
        *(
            parts.flags_section(entrant.evaluation, of=entrant.name)
            for entrant in entrants
            if flags.has_decoding(entrant.evaluation)
        ),
        section("Scans", _scans_table(entrants)),
    ]
    digests = [(f"Evaluation of {entrant.name}", entrant.evaluation.digest) for entrant in entrants]
    write_text(path, parts.page(title=title, body=body, footer=parts.footer(digests)))


def _about(entrants: Sequence[Entrant]) -> Markup:
    said = "; ".join(
        f"{entrant.name}: {entrant.evaluation.name}, {len(entrant.evaluation.scans)} scans" for entrant in entrants
    )
    return tag("p", f"{said}. For research and decision support, not for clinical use.", class_="about")


def _contrast(new: Entrant, old: Entrant, found: Contrast) -> Markup:
    heading = f"{new.name} against {old.name}"
    if found.reason:
        return section(heading, tag("p", found.reason + ".", class_="unseen"))
    words = "Differences over patients; an interval that crosses 0 leaves open which model is better."
    charts = (
        parts.scatter_figure(new=new, old=old),
        parts.differences_figure(found.rows, new=new.name, old=old.name, caption=words),
    )
    return section(heading, tag("div", *charts, class_="pair"), differences_table(found))


def _levels(entrant: Entrant) -> Markup:
    return tag(
        "div",
        tag("h3", entrant.name),
        levels_summary(entrant.evaluation),
        levels_table(entrant.evaluation, name=entrant.name),
    )


def _scans_table(entrants: Sequence[Entrant]) -> Markup:
    dices = [{scan.case: scan.mean_dice for scan in entrant.evaluation.scans} for entrant in entrants]
    cases = sorted({case for found in dices for case in found}, key=lambda case: (_lowest(case, dices), case))
    rows = [(case, *(number(found.get(case)) for found in dices)) for case in cases]
    columns = [Column("Case", "row"), *(Column(entrant.name) for entrant in entrants)]
    return table("Mean Dice (GT-present) of every scan, the worst under any model first", columns, rows)


def _lowest(case: str, dices: Sequence[dict[str, float | None]]) -> float:
    known = [dice for found in dices if (dice := found.get(case)) is not None]
    return min(known, default=2.0)
