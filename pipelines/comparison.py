"""Models side by side, registered versions or evaluations in files: scores, and what differs on the same scans."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.gate_candidate.report.differences import Contrast, contrast
from components.gate_candidate.report.entrants import MOST_ENTRANTS, Entrant
from components.gate_candidate.report.scores import SCORES
from model_registry.lifecycle import Registry
from spine.errors import InvalidValueError, MissingPathError
from spine.metrics.nnunet_summary import read_evaluation
from spine.metrics.scores import Evaluation
from spine.settings import settings

_TWO_OR_MORE: Final = f"2 to {MOST_ENTRANTS} different ones, versions or files"
DIFFERENCE_COLUMNS: Final = ("difference", "score", "patients", "mean", "95 % interval", "smallest detectable")


@dataclass(frozen=True)
class Comparison:
    """Evaluations of several models, the first being the one that others are held to."""

    entrants: tuple[Entrant, ...]
    contrasts: tuple[Contrast, ...]
    """Each later one minus the first."""

    def rows(self) -> list[tuple[object, ...]]:
        """Return a row a score and a region that any model has cases of, a column a model."""
        return score_rows([entrant.evaluation for entrant in self.entrants])

    def difference_rows(self) -> list[tuple[object, ...]]:
        """Return a row a score of each later model against the first, where these saw the same scans."""
        return [
            (f"{found.name} minus {found.against}", row.name, row.difference.patients, row.difference.mean,
             _interval(row.difference.low, row.difference.high), row.difference.detectable)
            for found in self.contrasts
            for row in found.rows
        ]  # fmt: skip

    def differences_in_words(self) -> list[str]:
        """Say for each later model how far its mean Dice is from the first's."""
        return [found.reason or _in_words(found) for found in self.contrasts]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "models": [
                {"name": name, "evaluation": evaluation.digest, "summary": evaluation.summary.model_dump(mode="json")}
                for name, evaluation in ((entrant.name, entrant.evaluation) for entrant in self.entrants)
            ],
            "differences": [
                {
                    "name": found.name,
                    "minus": found.against,
                    "scores": {row.name: row.difference.model_dump(mode="json") for row in found.rows},
                    "reason": found.reason,
                }
                for found in self.contrasts
            ],
        }


def compare(root: Path, given: Sequence[str]) -> Comparison:
    """Compare models, each the number of a registered version or a file with an evaluation.

    A version's evaluation is that of its bundle, which is verified. Raises InvalidValueError for fewer than two or
    the same one twice, UnknownNameError for a version that isn't there, MissingPathError and MalformedFileError
    for a file.
    """
    different = {int(text) if _is_version(text) else Path(text).resolve() for text in given}
    if not 2 <= len(given) <= MOST_ENTRANTS or len(different) < len(given):
        raise InvalidValueError("what to compare", " ".join(given), expected=_TWO_OR_MORE)
    # Before any bundle is verified, which takes a while.
    for path in (Path(text) for text in given if not _is_version(text)):
        if not path.exists():
            raise MissingPathError(path, expected="the number of a version, or a file with an evaluation")
    names = _names(given)
    entrants = tuple(Entrant(name, evaluation_of(root, text)) for name, text in zip(names, given, strict=True))
    return Comparison(entrants, tuple(contrast(entrant, entrants[0]) for entrant in entrants[1:]))


def compare_versions(root: Path, versions: Sequence[int]) -> Comparison:
    """Compare registered versions; see ``compare``."""
    return compare(root, [str(version) for version in versions])


def score_rows(evaluations: Sequence[Evaluation]) -> list[tuple[object, ...]]:
    """Return a row a score, then rows for each region that any evaluation has cases of."""
    rows: list[tuple[object, ...]] = [(score.name, *map(score.read, evaluations)) for score in SCORES]
    for regions in zip(*(evaluation.summary.regions for evaluation in evaluations), strict=True):
        if any(region.scans for region in regions):
            rows.append((f"{regions[0].name}: Dice", *(region.dice for region in regions)))
            rows.extend(_known_rows(f"{regions[0].name}: NSD at 3 mm", [region.nsd_3mm for region in regions]))
            rows.extend(_known_rows(f"{regions[0].name}: ID rate", [region.id_rate for region in regions]))
    return rows


def _is_version(given: str) -> bool:
    # Other digits, such as a superscript, are digits to Python but no numbers.
    return given.isascii() and given.isdecimal()


def _known_rows(name: str, values: Sequence[float | None]) -> Iterator[tuple[object, ...]]:
    if any(value is not None for value in values):
        yield (name, *values)


def evaluation_of(root: Path, given: str) -> Evaluation:
    """Return the evaluation of a registered version by its number, its bundle verified, or that of a file."""
    if _is_version(given):
        bundle = Registry.at(root, settings()).verified_bundle(int(given))
        return Evaluation.from_stored(bundle.json("evaluation.json"), where=f"version {int(given)}")
    return read_evaluation(Path(given))


def _names(given: Sequence[str]) -> list[str]:
    """Call versions by their number, files by their name and as many of its folders as tell them apart."""
    names: list[str] = []
    for depth in range(1, max(len(Path(text).absolute().parts) for text in given) + 1):
        names = [f"version {int(text)}" if _is_version(text) else _tail(Path(text), depth) for text in given]
        if len(set(names)) == len(names):
            break
    return names


def _tail(path: Path, depth: int) -> str:
    return "/".join(path.absolute().with_suffix("").parts[-depth:])


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def _in_words(found: Contrast) -> str:
    dice = found.rows[0].difference
    said = f"{found.name} minus {found.against}: {dice.mean:+.4f} Dice"
    interval = _interval(dice.low, dice.high)
    if interval is None:
        return f"{said} on one patient"
    return f"{said} ({interval} over {dice.patients} patients; smallest detectable: {dice.detectable:.4f})"
