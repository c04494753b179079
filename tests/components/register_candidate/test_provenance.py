"""Where a candidate comes from, as the journals of its training tell."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.register_candidate.provenance import provenance, trained_at
from model_registry.provenance import Provenance
from spine.journal import JOURNAL_FILE, Journal
from spine.records import DatasetRevision, FoldCheckpoint

DATASET = DatasetRevision(repository=".", git_revision="g", dvc_hash="h", folder="f", cases=1, test_cases=1)
FOLDS = [
    FoldCheckpoint(
        plan="p", training="t", fold=fold, weights_sha256="w", started_from=None, epochs=1, seconds=1.0,
        folder=f"candidates/abc/data/trainer/fold_{fold}",
    )
    for fold in (0, 1)
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for record in FOLDS:
        (tmp_path / record.folder).mkdir(parents=True)
    return tmp_path


def told(root: Path, *, image: str | None = None) -> Provenance:
    runs = {1: "run of 1", 0: "run of 0", 4: "run of a fold that is not in it"}
    return provenance(root, dataset=DATASET, checkpoints=FOLDS, run="r", fold_runs=runs, image=image)


def test_the_newest_word_of_the_training_counts(root: Path) -> None:
    journal = Journal(root / "candidates/abc" / JOURNAL_FILE)
    journal.parameters({"code_revision": "old", "image": "train:1"})
    journal.parameters({"code_revision": "new"})
    found = told(root, image="registry:2")
    assert (found.code_revision, found.fold_runs) == ("new", {0: "run of 0", 1: "run of 1"})
    assert found.images == {"train_folds": "train:1", "register_candidate": "registry:2"}


def test_what_training_did_not_tell_is_unknown_and_no_image_is_made_up(root: Path) -> None:
    assert (told(root).code_revision, told(root).images) == ("unknown", {})
    Journal(root / "candidates/abc" / JOURNAL_FILE).parameters({"image": "none"})
    assert told(root).images == {}


def test_a_candidate_was_trained_when_its_last_fold_ended(root: Path) -> None:
    assert trained_at(root, FOLDS) == datetime(1970, 1, 1, tzinfo=UTC)
    for record, time_s in zip(FOLDS, (1_000_000.75, 900_000.0), strict=True):
        (root / record.folder / JOURNAL_FILE).write_text(f'{{"time_s": {time_s}, "status": "FINISHED"}}\n')
    assert trained_at(root, FOLDS) == datetime.fromtimestamp(1_000_000, UTC)
