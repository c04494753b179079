"""What a model scores under each way of post-processing, and which of them was chosen."""

from pathlib import Path

from spine.errors import MalformedFileError
from spine.metrics.scores import Summary
from spine.storage import read_json, write_json
from spine.values import StoredValue

_EXPECTED = "the alternatives of an evaluation"


class Alternative(StoredValue):
    """One way to post-process masks, scored on the out-of-fold scans and, where it was asked for, on the test set."""

    name: str
    out_of_fold: Summary | None
    test: Summary | None
    chosen: bool


def write_alternatives(path: Path, alternatives: tuple[Alternative, ...]) -> None:
    """Write them as one JSON list."""
    write_json(path, [alternative.content for alternative in alternatives])


def read_alternatives(path: Path) -> tuple[Alternative, ...]:
    """Read what ``write_alternatives`` wrote; raises MissingPathError or MalformedFileError."""
    content = read_json(path, expected=_EXPECTED)
    if not isinstance(content, list):
        raise MalformedFileError(path, reason=f"holds a {type(content).__name__}", expected=_EXPECTED)
    return tuple(Alternative.from_stored(item, where=path) for item in content)
