"""The step's record: found again for the same data and recipe, refused where what it describes is another's."""

import json
import shutil
from pathlib import Path

import pytest

from components.plan_training.main import plan_training
from spine.errors import DigestMismatchError, InvalidValueError, MissingPathError
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.records import RECORD_FILE, Plan


def again(planned_root, **changes):
    given = {"root": planned_root.root, "dataset": planned_root.dataset, "recipe": planned_root.recipe, **changes}
    return plan_training(**given)


@pytest.fixture
def record_file(planned_root):
    """The plan's record, put back as it was after the test."""
    path = planned_root.root / planned_root.plan.folder / RECORD_FILE
    kept = path.read_bytes()
    yield path
    path.write_bytes(kept)


@pytest.fixture
def plans_file(planned_root):
    path = Workspace.below(planned_root.root / planned_root.plan.folder).dataset / f"{PLANS_NAME}.json"
    kept = path.read_bytes()
    yield path
    path.write_bytes(kept)


def test_a_plan_is_found_again_although_only_its_training_differs_or_the_git_revision(planned_root):
    assert again(planned_root) == planned_root.plan
    assert again(planned_root, recipe=planned_root.training(epochs=9)) == planned_root.plan
    elsewhere = planned_root.dataset.model_copy(update={"git_revision": "another"})
    assert again(planned_root, dataset=elsewhere) == planned_root.plan


def test_a_plan_without_its_record_is_finished_with_the_same_digests(planned_root, record_file):
    record_file.unlink()
    assert again(planned_root) == planned_root.plan


def test_plans_that_were_changed_since_are_refused(planned_root, plans_file):
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["3d_fullres"]["batch_size"] += 1
    plans_file.write_text(json.dumps(plans))
    with pytest.raises(DigestMismatchError, match=plans_file.name):
        again(planned_root)
    plans_file.unlink()
    with pytest.raises(MissingPathError, match=plans_file.name):
        again(planned_root)


@pytest.mark.parametrize("field", ["dataset_folder", "recipe", "configuration"])
def test_a_record_of_another_data_set_or_recipe_is_refused(planned_root, record_file, field):
    Plan.read(record_file).model_copy(update={field: "another"}).write(record_file)
    with pytest.raises(InvalidValueError, match=rf"{field} of the plan in .*{RECORD_FILE} is 'another'"):
        again(planned_root)


def test_a_preprocessed_case_that_is_gone_is_made_again(planned_root):
    folder = Workspace.below(planned_root.root / planned_root.plan.folder).dataset / f"{PLANS_NAME}_3d_fullres"
    gone = sorted(folder.glob("*_seg.b2nd"))[0]
    gone.unlink()
    case = gone.name.removesuffix("_seg.b2nd")
    others = {path: path.stat().st_mtime_ns for path in folder.iterdir() if not path.name.startswith(case)}
    assert again(planned_root) == planned_root.plan
    assert gone.is_file()
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_root_may_be_named_from_the_current_folder(planned_root, tmp_path, monkeypatch):
    shutil.copytree(planned_root.root / "datasets", tmp_path / "here" / "datasets")
    monkeypatch.chdir(tmp_path)
    assert again(planned_root, root=Path("here")).plans_digest == planned_root.plan.plans_digest
