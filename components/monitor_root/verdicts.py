"""What the gate said of evaluations, from the verdicts that lie beside them."""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spine.errors import SpinelineError

if TYPE_CHECKING:
    from model_registry.verdict import Outcome

EVALUATIONS_TOLD = 20
"""Evaluations whose newest verdict is told of one by one, at most, the last judged ones."""
_EVALUATION = re.compile(r"[0-9a-f]{12}")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class GateVerdict:
    """One verdict: on which evaluation, by the first digits of its digest, what, and when as a Unix time."""

    evaluation: str
    outcome: "Outcome"
    at_s: float


@dataclass(frozen=True)
class Judged:
    """All verdicts that can be read, how many can't, and the newest of each evaluation judged lately."""

    verdicts: tuple[GateVerdict, ...]
    unreadable: int
    lately: tuple[GateVerdict, ...]


class Verdicts:
    """The verdicts below a root; one that was read is not read again before its file changes."""

    def __init__(self, root: Path, *, days: float) -> None:
        self._folder, self._days = root / "evaluations", days
        self._read: dict[tuple[Path, float], GateVerdict | None] = {}

    def look(self) -> Judged:
        """Return what was judged; raises OSError where the folder can't be read."""
        if self._folder.exists():
            next(self._folder.iterdir(), None)  # a glob passes over a folder that it may not read
        files = {(path, path.stat().st_mtime) for path in self._folder.glob("*/verdicts/*/verdict.json")}
        self._read = {key: self._read[key] if key in self._read else _verdict(*key) for key in files}
        verdicts = tuple(sorted((each for each in self._read.values() if each), key=lambda each: each.at_s))
        return Judged(verdicts=verdicts, unreadable=len(self._read) - len(verdicts), lately=self._lately(verdicts))

    def _lately(self, verdicts: tuple[GateVerdict, ...]) -> tuple[GateVerdict, ...]:
        since = time.time() - self._days * 86400
        newest = {each.evaluation: each for each in verdicts if each.at_s >= since}
        return tuple(sorted(newest.values(), key=lambda each: -each.at_s)[:EVALUATIONS_TOLD])


def _verdict(path: Path, at_s: float) -> GateVerdict | None:
    # The statistics that a verdict's numbers come from take a second to import.
    from model_registry.verdict import Verdict

    evaluation = path.parents[2].name
    if not _EVALUATION.fullmatch(evaluation):
        return None
    try:
        return GateVerdict(evaluation, Verdict.read(path).outcome, at_s)
    except (SpinelineError, OSError) as error:
        _LOG.warning("a verdict is left out: %s", error)
        return None
