"""Evaluations under the names that a page or a table calls them by."""

from dataclasses import dataclass
from typing import Final

from spine.metrics.scores import Evaluation

MOST_ENTRANTS: Final = 6
"""More boxes beside one another can't be told apart."""


@dataclass(frozen=True)
class Entrant:
    """One model's evaluation and what it is called: "candidate", "model in use", "version 3"."""

    name: str
    evaluation: Evaluation


def verdict_entrants(candidate: Evaluation, champion: Evaluation | None) -> tuple[Entrant, ...]:
    """Return the candidate, then the model in use where there is one."""
    first = Entrant("candidate", candidate)
    return (first, Entrant("model in use", champion)) if champion else (first,)
