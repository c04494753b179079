"""A group of folds: what its candidate is keyed by, what is refused before it begins, and what came of each fold."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.train_folds.candidate import Candidate
from components.train_folds.main import _end_journals, _status, parse_folds, step, train_folds
from components.train_folds.outcome import FoldOutcome
from model_registry.lifecycle import Registry
from spine.errors import InvalidValueError, MissingPathError
from spine.journal import JOURNAL_FILE, Journal, last_status
from spine.nnunet import checkpoints
from spine.nnunet.checkpoint_files import FINAL, Position
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.phantom import make_scan
from spine.recipe import PredictionRecipe, load_recipe
from spine.records import RECORD_FILE, Plan, parse_checkpoints
from spine.settings import child_environment, settings
from spine.storage import digest_file
from spine.volume.nifti import read_labels, write_volume


@pytest.fixture
def plan():
    return Plan(
        dataset="sha256:d", dataset_folder="datasets/d/data", recipe="sha256:r", plans_digest="sha256:p",
        configuration="3d_fullres", folder="plans/p",
    )  # fmt: skip


@pytest.fixture
def recipe():
    return load_recipe("demo").training


def folder(plan, recipe, start_from=None):
    return Candidate(root=Path("/root"), plan=plan, recipe=recipe, start_from=start_from).folder


@pytest.mark.parametrize(
    "change", [{"folds": (0, 1, 2)}, {"checkpoint_minutes": 1.0}, {"augmentation_workers": 7}, {"dice_by_epoch": 9}]
)
def test_what_does_not_change_a_fold_does_not_change_the_candidate(plan, recipe, change):
    assert folder(plan, recipe) == folder(plan, recipe.model_copy(update=change))


@pytest.mark.parametrize(
    "change",
    [{"epochs": 26}, {"seed": 2}, {"mirror_axes": ()}, {"initial_learning_rate": 0.1}, {"precision": "bf16"}],
)
def test_anything_else_in_the_recipe_makes_another_candidate(plan, recipe, change):
    assert folder(plan, recipe) != folder(plan, recipe.model_copy(update=change))


@pytest.mark.parametrize(("variable", "minutes"), [(None, 0.5), ("3", 3.0)])
def test_the_minutes_between_checkpoints_that_are_set_here_replace_those_of_the_recipe(
    variable, minutes, plan, monkeypatch
):
    given = []
    monkeypatch.setattr("components.train_folds.main.train_folds", lambda *, recipe, **_: given.append(recipe) or [])
    if variable:
        monkeypatch.setenv("SPINELINE_CHECKPOINT_MINUTES", variable)
    settings.cache_clear()
    step(root="/root", plan=plan.text(), recipe="demo", folds="[0]", start_from=0)
    settings.cache_clear()
    assert given[0].training.checkpoint_minutes == minutes
    assert given[0].training.identity == load_recipe("demo").training.identity


def test_starting_weights_make_another_candidate(plan, recipe, make_bundle, tmp_path):
    assert folder(plan, recipe) != folder(plan, recipe, make_bundle(tmp_path / "bundle", seed=1))


def test_a_version_of_another_plan_is_refused_for_it_may_have_seen_the_test_cases(plan, tmp_path, make_bundle):
    bundle = make_bundle(tmp_path / "versions" / "1", seed=1)
    Registry(tmp_path).register(version=1, bundle=bundle, actor="ann", reason="for tests")
    with pytest.raises(InvalidValueError, match="plan of version 1 to start from is .* expected .*, the plan of these"):
        train_folds(root=tmp_path, plan=plan, recipe=load_recipe("demo"), folds=[0], start_from=1)


def test_an_unknown_version_to_start_from_is_refused(plan, tmp_path):
    with pytest.raises(Exception, match="unknown version '7'"):
        train_folds(root=tmp_path, plan=plan, recipe=load_recipe("demo"), folds=[0], start_from=7)


@pytest.mark.parametrize("text", ["", "0", "[]", "[5]", "[-1]", '["0"]', "[0, 9]", "[0", "[0.5]", "[true]", "[0, 0]"])
def test_folds_that_are_no_folds_are_refused(text):
    with pytest.raises(InvalidValueError, match="expected a JSON list of folds 0-4"):
        parse_folds(text)


def test_folds_are_parsed():
    assert parse_folds("[0, 3]") == [0, 3]


@pytest.fixture
def own_root(planned_root, tmp_path):
    """A root of this test's own, with the session's plan in it."""
    shutil.copytree(planned_root.root, tmp_path / "root", symlinks=True, ignore=shutil.ignore_patterns("candidates"))
    return tmp_path / "root"


def _dataset(root, planned_root):
    return Workspace.below(root / planned_root.plan.folder).dataset


def refused(root, planned_root, **changes):
    given = {"plan": planned_root.plan, "recipe": planned_root.training(), "folds": [0], **changes}
    return train_folds(root=root, **given)


def test_a_plan_that_is_not_there_is_refused(own_root, planned_root):
    shutil.rmtree(own_root / "plans")
    with pytest.raises(MissingPathError, match=rf"{PLANS_NAME}.json: not found; expected the plans"):
        refused(own_root, planned_root)


def test_a_plan_of_another_data_set_is_refused(own_root, planned_root):
    other = planned_root.dataset.model_copy(update={"dvc_hash": "other.dir"})
    other.write(own_root / planned_root.dataset.folder / ".." / RECORD_FILE)
    with pytest.raises(InvalidValueError, match="data set of the plan is .*; expected the one in datasets/tiny/data"):
        refused(own_root, planned_root)


def test_plans_that_changed_since_their_record_are_refused(own_root, planned_root):
    plans = Workspace.below(own_root / planned_root.plan.folder).dataset / f"{PLANS_NAME}.json"
    plans.write_text(plans.read_text().replace('"batch_size": 2', '"batch_size": 3'))
    with pytest.raises(InvalidValueError, match="digest of .*json is .*; expected the plans of the record"):
        refused(own_root, planned_root)


def test_a_cascade_is_refused_before_anything_is_trained(own_root, planned_root):
    cascade = planned_root.plan.model_copy(update={"configuration": "3d_cascade_fullres"})
    with pytest.raises(InvalidValueError, match="configuration is '3d_cascade_fullres'; expected 2d, 3d_fullres or"):
        refused(own_root, planned_root, plan=cascade)


def test_folds_that_are_not_the_data_sets_are_refused_for_they_may_train_on_what_judges_them(own_root, planned_root):
    path = Workspace.below(own_root / planned_root.plan.folder).dataset / "splits_final.json"
    splits = json.loads(path.read_text())
    splits[0]["train"] += splits[0]["val"]
    path.write_text(json.dumps(splits))
    with pytest.raises(InvalidValueError, match=r"content of .*splits_final.json is 'another'; expected that of "):
        refused(own_root, planned_root)


def test_a_preprocessed_case_that_is_gone_is_named(own_root, planned_root):
    folder = next((own_root / planned_root.plan.folder / "preprocessed").glob("*/nnUNetPlans_3d_fullres"))
    gone = sorted(folder.glob("*_seg.b2nd"))[0]
    gone.unlink()
    with pytest.raises(MissingPathError, match=f"{gone}: not found; expected a preprocessed case"):
        refused(own_root, planned_root, folds=[0, 1, 2, 3, 4])


def test_a_fold_without_cases_is_refused(own_root, planned_root):
    for folder in (own_root / planned_root.dataset.folder, _dataset(own_root, planned_root)):
        splits = folder / "splits_final.json"
        splits.write_text(json.dumps(json.loads(splits.read_text())[:2]))
    with pytest.raises(InvalidValueError, match=r"expected folds with cases to validate on, not \[3\]"):
        refused(own_root, planned_root, folds=[0, 3])


def test_devices_that_are_not_there_are_refused(own_root, planned_root, monkeypatch):
    monkeypatch.setenv("SPINELINE_DEVICES", "0,8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings.cache_clear()
    try:
        with pytest.raises(InvalidValueError, match="SPINELINE_DEVICES is '0,8'; expected no GPU, for none is there"):
            refused(own_root, planned_root)
    finally:
        settings.cache_clear()


@pytest.mark.parametrize(
    ("before", "state", "after"),
    [
        ("RUNNING", "interrupted", "KILLED"),
        ("FINISHED", "interrupted", "FINISHED"),
        (None, "interrupted", None),
        ("RUNNING", "failed", "FAILED"),
        ("RUNNING", "done", "RUNNING"),
    ],
)
def test_how_a_fold_ended_is_recorded_where_its_process_could_not(plan, recipe, tmp_path, before, state, after):
    candidate = Candidate(root=tmp_path, plan=plan, recipe=recipe, start_from=None)
    journal = candidate.fold_folder(0) / JOURNAL_FILE
    journal.parent.mkdir(parents=True)
    if before:
        Journal(journal).status(before)
    _end_journals(candidate, [FoldOutcome(fold=0, state=state)])
    assert last_status(journal) == after


@pytest.mark.parametrize(
    ("states", "recorded", "status"),
    [
        (("done", "done"), (0, 1), "FINISHED"),
        (("done",), (0,), None),
        (("done", "interrupted"), (0,), "KILLED"),
        (("failed", "interrupted"), (), "FAILED"),
    ],
)
def test_a_candidate_is_finished_with_the_last_fold_of_its_recipe(plan, recipe, tmp_path, states, recorded, status):
    given = recipe.model_copy(update={"folds": (0, 1)})
    candidate = Candidate(root=tmp_path, plan=plan, recipe=given, start_from=None)
    for fold in recorded:
        candidate.fold_folder(fold).mkdir(parents=True)
        (candidate.fold_folder(fold) / RECORD_FILE).write_text("{}")
    outcomes = [FoldOutcome(fold=fold, state=state) for fold, state in enumerate(states)]
    assert _status(candidate, outcomes) == status


def run(root, planned_root, recipe, folds, **environment):
    """Run the step's program as the pipeline does; return its exit code, its output and what it said."""
    recipe_file = root / "recipe.json"
    recipe_file.write_text(recipe.model_dump_json())
    command = [sys.executable, "-m", "components.train_folds", "--root", str(root), "--plan", planned_root.plan.text()]
    command += ["--recipe", recipe_file.read_text(), "--folds", json.dumps(folds)]
    environment = child_environment(
        SPINELINE_ROOT=str(root), CUDA_VISIBLE_DEVICES="", SPINELINE_TRAINING_THREADS="1", **environment
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_five_folds_on_stand_ins_train_although_one_of_them_fails(own_root, planned_root):
    recipe = planned_root.training(seed=50)
    candidate = Candidate(root=own_root, plan=planned_root.plan, recipe=recipe.training, start_from=None)
    foreign = candidate.fold_folder(3) / Position(1).file_name
    checkpoints.save({"spineline": {"origin": {"plan": "sha256:another"}}}, foreign)
    code, _, told = run(own_root, planned_root, recipe, [0, 1, 2, 3, 4], SPINELINE_DEVICES="cpu,cpu,cpu")
    assert code == 2
    reason = f"1 of 5 folds failed: fold 3: {foreign}: belongs to plan sha256:another; expected a checkpoint of plan"
    assert told.splitlines()[-1].startswith(f"error: {reason}")
    assert "--- log of fold 3" in told
    done = [fold for fold in range(5) if (candidate.fold_folder(fold) / RECORD_FILE).is_file()]
    assert done == [0, 1, 2, 4]
    foreign.unlink()
    code, output, _ = run(own_root, planned_root, recipe, [0, 1, 2, 3, 4], SPINELINE_DEVICES="cpu")
    assert code == 0
    assert [record.fold for record in parse_checkpoints(output.splitlines()[-1])] == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def trained_by_two(planned_root, tmp_path_factory):
    """A root in which a fold was trained on two devices at once, and the fold's record."""
    root = tmp_path_factory.mktemp("two") / "root"
    shutil.copytree(planned_root.root, root, symlinks=True, ignore=shutil.ignore_patterns("candidates"))
    code, output, told = run(root, planned_root, planned_root.training(seed=51), [0], SPINELINE_DEVICES="cpu,cpu")
    assert code == 0, told
    (record,) = parse_checkpoints(output.splitlines()[-1])
    return root, record


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["weights gone", "weights cut off", "record cut off"])
def test_a_fold_that_was_done_and_is_damaged_is_made_whole_again(trained_by_two, planned_root, tmp_path, damage):
    root, record = trained_by_two
    root = Path(shutil.copytree(root, tmp_path / "root", symlinks=True))
    final, file = root / record.folder / FINAL, root / record.folder / RECORD_FILE
    content = final.read_bytes()
    if damage == "weights gone":
        final.unlink()
    elif damage == "weights cut off":
        final.write_bytes(content[:1000])
    else:
        file.write_bytes(file.read_bytes()[:50])
    code, output, told = run(root, planned_root, planned_root.training(seed=51), [0], SPINELINE_DEVICES="cpu")
    assert code == 0, told
    assert "fold 0 is not done" in told
    (again,) = parse_checkpoints(output.splitlines()[-1])
    assert digest_file(root / again.folder / FINAL) == again.weights_sha256
    if damage == "record cut off":
        assert again.weights_sha256 == record.weights_sha256


@pytest.mark.slow
def test_a_case_that_was_cut_off_is_named_before_training(own_root, planned_root):
    cut = sorted(_dataset(own_root, planned_root).glob("*/*_seg.b2nd"))[0]
    cut.write_bytes(cut.read_bytes()[:100])
    code, _, told = run(own_root, planned_root, planned_root.training(seed=52), [0], SPINELINE_DEVICES="cpu")
    assert code == 2
    assert f"fold 0: {cut}: can't be opened; expected a preprocessed case" in told.splitlines()[-1]


@pytest.mark.slow
def test_a_fold_trains_on_two_devices_at_once_and_is_one_fold(trained_by_two, planned_root):
    root, record = trained_by_two
    loaded = checkpoints.load(root / record.folder / FINAL, digest=record.weights_sha256)
    assert loaded["current_epoch"] == planned_root.recipe.training.epochs
    assert not any(name.startswith("module.") for name in loaded["network_weights"])


@pytest.mark.slow
def test_nnunets_own_command_predicts_with_it_what_we_predict(trained_by_two, resampled_by_torch, tmp_path):
    root, record = trained_by_two
    scan = make_scan(seed=5, patient=1, spacing_mm=(4.0, 4.0, 4.0))
    write_volume(tmp_path / "in" / "scan_0000.nii.gz", scan.image)
    environment = child_environment(
        nnUNet_raw=str(tmp_path), nnUNet_preprocessed=str(tmp_path), CUDA_VISIBLE_DEVICES="",
        nnUNet_results=str(resampled_by_torch(Path(root / record.folder).parents[2])),
    )  # fmt: skip
    command = [str(Path(sys.executable).with_name("nnUNetv2_predict")), "-i", str(tmp_path / "in")]
    command += ["-o", str(tmp_path / "out"), "-d", "1", "-tr", "SpineTrainer", "-c", "3d_fullres", "-f", "0"]
    command += ["-device", "cpu", "--disable_tta", "-npp", "1", "-nps", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    theirs = read_labels(tmp_path / "out" / "scan.nii.gz")
    # Its preprocessing and ours round an image by up to 2e-6 otherwise: a voxel may lie that near to two classes.
    assert np.sum(theirs.array != _ours(root / record.folder, record, scan.image).array) <= 2


def _ours(folder, record, image):
    import torch

    from spine.nnunet.segmentation import Segmenter

    return Segmenter.from_model_folder(
        folder.parent,
        digests={0: record.weights_sha256},
        configuration="3d_fullres",
        recipe=PredictionRecipe(),
        device=torch.device("cpu"),
        threads=1,
    ).segment(image)
