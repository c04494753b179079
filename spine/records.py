"""Records: what a step has made, in one small value that quotes the digest of what it was made from.

Every record is written once, atomically, beside what it describes. Folders are relative to the shared root, so
that a record means the same on a workstation and on a cluster's volume.
"""

import json
from pathlib import Path
from typing import Self

from spine.errors import DigestMismatchError, MalformedFileError, MissingPathError
from spine.storage import strict_json, write_text
from spine.values import StoredValue

RECORD_FILE = "record.json"
TEST_FILE, OUT_OF_FOLD_FILE = "test.json", "out_of_fold.json"
POSTPROCESSING_FILE, ALTERNATIVES_FILE = "postprocessing.json", "alternatives.json"
GOLDEN_FOLDER, ENVIRONMENT_FILE, MASKS_FOLDER = "golden", "environment.txt", "masks"
"""What an evaluation's folder holds beside its record."""


class Record(StoredValue):
    """What all records share: how they are sealed with their digest, written and read again."""

    def text(self) -> str:
        """Return the record as one line of JSON with its digest, as steps pass it on."""
        return strict_json({**self.content, "digest": self.digest})

    def write(self, path: Path) -> None:
        """Write the sealed record atomically."""
        write_text(path, self.text() + "\n")

    @classmethod
    def from_text(cls, text: str, *, where: Path | str) -> Self:
        """Parse a sealed record; one that was changed since it was sealed is refused."""
        try:
            content = json.loads(text)
            sealed = content.pop("digest")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise MalformedFileError(where, reason="not a sealed record", expected=cls.__name__) from error
        record = cls.from_stored(content, where=where)
        if record.digest != sealed:
            raise DigestMismatchError(where, found=record.digest, expected=str(sealed))
        return record

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a sealed record from its file."""
        if not path.is_file():
            raise MissingPathError(path, expected=f"the record of a {cls.__name__}")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise MalformedFileError(path, reason="not UTF-8 text", expected=cls.__name__) from error
        return cls.from_text(text, where=path)


class DatasetRevision(Record):
    """A data set as it was versioned: the parent of every plan."""

    repository: str
    git_revision: str
    dvc_hash: str
    """Hash of the DVC directory object that lists every file with its own hash."""
    folder: str
    cases: int
    test_cases: int


class Plan(Record):
    """What nnU-Net planned and preprocessed for a data set and a recipe."""

    dataset: str
    """Digest of the DatasetRevision's content hash: the same data under two git revisions shares a plan."""
    dataset_folder: str
    recipe: str
    """Digest of the recipe's plan section."""
    plans_digest: str
    configuration: str
    folder: str


class FoldCheckpoint(Record):
    """One trained fold."""

    plan: str
    training: str
    """Digest of the recipe's training section."""
    fold: int
    weights_sha256: str
    started_from: str | None
    """Digest of the weights that training began with; None for random ones."""
    epochs: int
    seconds: float
    folder: str


def parse_checkpoints(text: str) -> list[FoldCheckpoint]:
    """Parse what ``train_folds`` returned, for one group of folds or as the list of all groups."""
    expected = "a JSON list of the records of fold checkpoints"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise MalformedFileError("checkpoints", reason="not JSON", expected=expected) from error
    if isinstance(content, dict):
        return [FoldCheckpoint.from_text(text, where="checkpoints")]
    if not isinstance(content, list):
        raise MalformedFileError("checkpoints", reason=f"found {text[:40]!r}", expected=expected)
    items = [item if isinstance(item, str) else json.dumps(item) for item in content]
    return [record for item in items for record in parse_checkpoints(item)]


class EvaluationRecord(Record):
    """An evaluated candidate: the evidence of its gate."""

    plan: str
    checkpoints: tuple[str, ...]
    """Digests of the fold checkpoints, in order of their folds."""
    folds: tuple[int, ...]
    recipe_name: str
    test_evaluation: str
    """Digest of the evaluation of the fold ensemble on the locked test set."""
    out_of_fold_evaluation: str
    """Digest of the evaluation of each fold on its own validation cases."""
    postprocessing: str
    """Digest of what is done to every mask, chosen on the folds."""
    folder: str


class ModelVersion(Record):
    """A registered model version."""

    version: int
    model_digest: str
    """One digest over all files of the bundle."""
    verdict: str
    evaluation: str
    mlflow_run: str
    folder: str
