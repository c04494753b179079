"""The region table: every group of vertebrae with scores and intervals, the models below one another."""

from collections.abc import Callable, Sequence
from typing import Final

from components.gate_candidate.report.entrants import Entrant
from model_registry.intervals import Estimate, Group, groups
from spine.drawing.markup import NOTHING, Column, Markup, joined, number, percent, table, tag
from spine.labels import NAMES
from spine.metrics.scores import Evaluation

_MEANING: Final = (
    "Scores by group of vertebrae; below each its 95 % interval, for which patients are resampled, never vertebrae "
    "(of the ID rate Wilson's). Dice (overlap) and NSD (share of the surfaces that lies within 3 mm of the other): "
    "mean over patients of the mean of their scans' means within the group, as the rules have it; a vertebra whose "
    "name is not predicted counts 0. HD95 (95th percentile of the distances between the surfaces): the same over the "
    "others. ID rate: vertebrae identified as in VerSe'19, of all."
)


def regions_table(entrants: Sequence[Entrant]) -> Markup:
    """Return the groups with the scores of every model; what is unknown is a dash."""
    several = len(entrants) > 1
    columns = [
        Column("Group", "row"), *([Column("Model", "words")] if several else []), Column("Patients"),
        Column("Vertebrae"), Column("Name not predicted"), Column("Dice"), Column("NSD at 3 mm"), Column("HD95, mm"),
        Column("ID rate"),
    ]  # fmt: skip
    rows: list[list[str | Markup]] = []
    for versions in zip(*(groups(entrant.evaluation) for entrant in entrants), strict=True):
        for place, (entrant, group) in enumerate(zip(entrants, versions, strict=True)):
            name = tag("span", group.name, class_="again") if place else group.name
            rows.append([name, *([entrant.name] if several else []), *_cells(group)])
    return table(_MEANING, columns, rows)


def lowest_label(evaluation: Evaluation) -> str:
    """Name the vertebra with the lowest mean Dice, in words."""
    known = {name: label.dice for name, label in zip(NAMES.values(), evaluation.summary.labels, strict=True)}
    found = {name: dice for name, dice in known.items() if dice is not None}
    worst = min(found, key=lambda name: found[name], default=None)
    return f"lowest mean: {worst} with {found[worst]:.3f}" if worst else "no vertebra has a case"


def _cells(group: Group) -> list[str | Markup]:
    counts = [str(value) if group.vertebrae else NOTHING for value in (group.patients, group.vertebrae, group.missed)]
    return [
        *counts,
        _written(group.dice, number),
        _written(group.nsd_3mm, number),
        _written(group.hd95_mm, lambda value: number(value, digits=1)),
        _written(group.id_rate, percent),
    ]


def _written(found: Estimate, write: Callable[[float | None], str]) -> Markup:
    if found.value is None or found.interval is None:
        return joined([write(found.value)])
    low, high = found.interval
    return joined((write(found.value), tag("span", f"{write(low)} to {write(high)}", class_="ci")))
