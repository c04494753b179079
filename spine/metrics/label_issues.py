"""Label QA: cases whose reference and out-of-fold prediction disagree by a whole level; one of the two is wrong."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import MissingPathError
from spine.labels import NAMES
from spine.storage import read_json
from spine.values import StoredValue, Value

SUSPECTS_FOLDER, LIST_FILE, PAGE_FILE = "suspects", "suspects.json", "index.html"
_FOUND: Final = 0.5
"""Share of a vertebra that must be predicted as bone before its name means anything; and of that, under one name."""
_FRAGMENT_MM3: Final = 500 * 1.5**3
_EXPECTED: Final = "the suspects of an evaluation, as evaluate_folds writes them"


class Suspect(Value):
    """One case in which whole vertebrae have another name in the prediction than in the reference."""

    case: str
    patient: str
    vertebrae: int
    """Vertebrae of the reference that were found as bone."""
    misnamed: int
    shift: int | None
    """Levels that all of these are off by (+1: each is called the next lower one); None where they differ."""
    message: str
    """Which is called what."""


class SuspectList(StoredValue):
    """The suspects among the training cases of one candidate, most vertebrae first."""

    name: str
    cases: int
    suspects: tuple[Suspect, ...]
    page: str = ""
    """Where the pictures are."""

    @classmethod
    def of(cls, evaluation: Path) -> "SuspectList":
        """Read the suspects of an evaluation's folder."""
        path = evaluation / SUSPECTS_FOLDER / LIST_FILE
        found = cls.from_stored(read_json(path, expected=_EXPECTED), where=path)
        return found.model_copy(update={"page": str(path.with_name(PAGE_FILE))})

    @classmethod
    def newest(cls, root: Path) -> "SuspectList":
        """Read the suspects of the newest evaluation below ``root``."""
        lists = sorted(root.glob(f"evaluations/*/{SUSPECTS_FOLDER}/{LIST_FILE}"), key=lambda path: path.stat().st_mtime)
        if not lists:
            raise MissingPathError(root / "evaluations", expected="an evaluated candidate (`spineline run` makes one)")
        return cls.of(lists[-1].parents[1])


def suspect(*, case: str, patient: str, counts: NDArray[np.int64], voxel_mm3: float) -> Suspect | None:
    """Judge one case from its joint counts, shape (26, 26) by [reference, prediction]; None where names agree.

    A vertebra counts if it is more than a fragment and at least half of it was predicted as bone, and is misnamed if
    more than half of that bone has one other name.
    """
    found, otherwise = 0, {}
    for label in NAMES:
        named = counts[label, 1:]
        bone = int(named.sum())
        if counts[label].sum() * voxel_mm3 <= _FRAGMENT_MM3 or bone < _FOUND * counts[label].sum():
            continue
        found += 1
        best = int(named.argmax()) + 1
        if best != label and named[best - 1] > _FOUND * bone:
            otherwise[label] = best
    if not otherwise:
        return None
    shifts = {best - label for label, best in otherwise.items()}
    return Suspect(
        case=case,
        patient=patient,
        vertebrae=found,
        misnamed=len(otherwise),
        shift=shifts.pop() if len(shifts) == 1 else None,
        message=", ".join(f"{NAMES[label]}→{NAMES[best]}" for label, best in otherwise.items()),
    )
