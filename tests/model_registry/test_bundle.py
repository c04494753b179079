"""Bundles: one digest over all files, and the name of the one that differs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model_registry.bundle import MANIFEST_FILE, Bundle, list_files
from model_registry.errors import UnlistedFileError
from spine.errors import DigestMismatchError, MalformedFileError, MissingPathError

WEIGHTS = "model/fold_0/checkpoint_final.pth"
FILES = [WEIGHTS, "evaluation.json", "policy.json", "verdict.json"]


@pytest.fixture
def bundle(tmp_path: Path, write_evidence: Callable[..., Bundle]) -> Bundle:
    return write_evidence(tmp_path / "bundle")


def test_an_untouched_bundle_verifies(bundle: Bundle) -> None:
    assert sorted(bundle.manifest.files) == sorted(FILES)
    Bundle(bundle.folder).verify(expected=bundle.digest)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(bundle: Bundle, name: str) -> None:
    path = bundle.folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DigestMismatchError, match=f"{path}: digest is sha256:.*; expected sha256:"):
        bundle.verify(expected=bundle.digest)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).unlink()
    with pytest.raises(MissingPathError, match=f"{bundle.folder / name}: not found"):
        bundle.verify(expected=bundle.digest)


@pytest.mark.parametrize("name", ["model/extra.pth", "notes.txt", "model/bundle.json"])
def test_a_file_that_the_manifest_does_not_list_is_named(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).write_text("more")
    with pytest.raises(UnlistedFileError, match=f"{bundle.folder / name}: is not in the bundle's manifest"):
        bundle.verify(expected=bundle.digest)


@pytest.mark.parametrize("name", ["__pycache__/a.pyc", "registered_model_meta"])
def test_what_python_and_mlflow_leave_beside_a_bundle_is_passed_over(bundle: Bundle, name: str) -> None:
    (bundle.folder / name).parent.mkdir(exist_ok=True)
    (bundle.folder / name).write_text("more")
    bundle.verify(expected=bundle.digest)


def test_a_manifest_made_to_fit_changed_files_has_another_digest(
    tmp_path: Path, bundle: Bundle, write_evidence: Callable[..., Bundle]
) -> None:
    forged = write_evidence(tmp_path / "forged", weights="other")
    forged.verify(expected=forged.digest)
    with pytest.raises(DigestMismatchError, match=MANIFEST_FILE):
        forged.verify(expected=bundle.digest)


def test_the_digest_does_not_depend_on_where_the_bundle_lies(
    tmp_path: Path, bundle: Bundle, write_evidence: Callable[..., Bundle]
) -> None:
    assert write_evidence(tmp_path / "elsewhere" / "deeper").digest == bundle.digest


def test_a_fold_that_the_version_lacks_lists_those_it_has(bundle: Bundle) -> None:
    assert bundle.fold_digest(0) == bundle.manifest.files[WEIGHTS]
    with pytest.raises(MissingPathError, match="expected one of the version's folds: 0"):
        bundle.fold_digest(3)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="expected the bundle of a model version"):
        Bundle(tmp_path)
    (tmp_path / MANIFEST_FILE).write_text('{"files": {}}')
    with pytest.raises(MalformedFileError, match=r"bundle\.json: folds: Field required"):
        Bundle(tmp_path)


def test_the_list_of_files_leaves_out_the_manifest_only(bundle: Bundle) -> None:
    assert set(list_files(bundle.folder)) == set(FILES)
    (bundle.folder / "model" / "extra.json").write_text("{}")
    assert set(list_files(bundle.folder)) == {*FILES, "model/extra.json"}
