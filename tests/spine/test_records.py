"""Records: sealed with their digest, refused when changed, and the ways that checkpoints are handed on."""

import json
from pathlib import Path

import pytest

from spine.errors import DigestMismatchError, MalformedFileError, MissingPathError
from spine.records import DatasetRevision, FoldCheckpoint, Plan, parse_checkpoints

PLAN = Plan(
    dataset="sha256:d", dataset_folder="datasets/d", recipe="sha256:r", plans_digest="sha256:p",
    configuration="3d_fullres", folder="plans/p",
)  # fmt: skip


def checkpoint(fold: int) -> FoldCheckpoint:
    return FoldCheckpoint(
        plan=PLAN.digest, training="sha256:t", fold=fold, weights_sha256=f"sha256:{fold}", started_from=None,
        epochs=3, seconds=1.5, folder=f"folds/{fold}",
    )  # fmt: skip


def group(*folds: int) -> str:
    return json.dumps([json.loads(checkpoint(fold).text()) for fold in folds])


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "record.json")
    assert Plan.read(tmp_path / "record.json") == PLAN
    assert json.loads(PLAN.text())["digest"] == PLAN.digest


def test_the_order_and_layout_of_a_record_do_not_matter() -> None:
    content = dict(reversed(json.loads(PLAN.text()).items()))
    assert Plan.from_text(json.dumps(content, indent=4), where="plan") == PLAN


@pytest.mark.parametrize("field", sorted(Plan.model_fields))
def test_a_changed_field_is_refused(tmp_path: Path, field: str) -> None:
    content = json.loads(PLAN.text())
    content[field] = 1 if field == "format" else content[field] + "0"
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(DigestMismatchError, match=r"record\.json: digest is"):
        Plan.read(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", MalformedFileError),
        ("[]", MalformedFileError),
        ("3", MalformedFileError),
        ("null", MalformedFileError),
        ('"text"', MalformedFileError),
        ("{", MalformedFileError),
        (json.dumps(PLAN.model_dump(mode="json")), MalformedFileError),
        (json.dumps({**json.loads(PLAN.text()), "more": 1}), MalformedFileError),
        (json.dumps({**json.loads(PLAN.text()), "digest": None}), DigestMismatchError),
    ],
    ids=["empty", "list", "number", "null", "string", "cut", "no seal", "another field", "seal of nothing"],
)
def test_what_is_no_sealed_record_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="^plan: "):
        Plan.from_text(text, where="plan")


def test_a_record_of_another_kind_is_refused() -> None:
    with pytest.raises(MalformedFileError, match="expected a dataset revision"):
        DatasetRevision.from_text(PLAN.text(), where="dataset")


def test_a_record_whose_file_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MalformedFileError, match=r"record\.json"):
        Plan.read(tmp_path / "record.json")


def test_a_missing_record_names_its_kind(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="expected the record of a Plan"):
        Plan.read(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("text", "folds"),
    [
        (group(0, 1), [0, 1]),
        (group(3), [3]),
        (f"[{group(0, 1)}, {group(2)}]", [0, 1, 2]),
        (json.dumps([group(4), group(2, 3)]), [4, 2, 3]),
        (json.dumps([checkpoint(0).text(), checkpoint(1).text()]), [0, 1]),
        (checkpoint(2).text(), [2]),
        ("[]", []),
    ],
    ids=["a group", "one fold", "groups", "groups as text", "records as text", "one record", "none"],
)
def test_checkpoints_are_found_however_a_pipeline_gathers_them(text: str, folds: list[int]) -> None:
    assert parse_checkpoints(text) == [checkpoint(fold) for fold in folds]


@pytest.mark.parametrize("text", ["", "0", "[0]", '["no record"]', "null", '[{"fold": 0}]'])
def test_what_is_no_list_of_checkpoints_is_refused(text: str) -> None:
    with pytest.raises(MalformedFileError, match="^checkpoints: "):
        parse_checkpoints(text)


def test_one_changed_checkpoint_among_others_is_refused() -> None:
    with pytest.raises(DigestMismatchError):
        parse_checkpoints(group(0, 1).replace('"fold": 1', '"fold": 2'))
