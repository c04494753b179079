"""Planning: nnU-Net's own, with a recipe's overrides, found again case by case."""

import json
import shutil
from types import SimpleNamespace

import pytest

from spine.errors import (
    DigestMismatchError,
    InvalidValueError,
    MissingPathError,
    OutOfSpaceError,
    UnreadableVolumeError,
)
from spine.nnunet.decoded import Scratch
from spine.nnunet.planning import plan_and_preprocess, training_cases
from spine.nnunet.workspace import DATASET_NAME, Workspace
from spine.recipe import Network, PlanRecipe, load_recipe


def plans_of(planned):
    return json.loads((Workspace.below(planned[0]).dataset / "nnUNetPlans.json").read_text())


def test_the_recipe_is_written_into_the_plans(planned):
    configuration = plans_of(planned)["configurations"]["3d_fullres"]
    assert configuration["patch_size"] == [32, 16, 16], "arrays run superior-inferior first"
    assert configuration["spacing"] == [8.0, 8.0, 8.0]
    assert configuration["batch_dice"] is True
    assert configuration["architecture"]["arch_kwargs"]["features_per_stage"] == [4, 8, 8]


def test_axes_are_never_transposed_so_that_mirroring_means_an_anatomical_axis(planned):
    assert plans_of(planned)["transpose_forward"] == [0, 1, 2]


def test_every_case_is_reported_and_preprocessed(planned, dataset):
    cases = training_cases(dataset)
    told = [entry for entry in planned[2] if entry[0] == "preprocess"]
    assert told == [("preprocess", index, len(cases)) for index in range(1, len(cases) + 1)]
    folder = Workspace.below(planned[0]).dataset / "nnUNetPlans_3d_fullres"
    assert sorted(path.stem for path in folder.glob("*.pkl")) == cases


@pytest.mark.slow
def test_the_fingerprint_is_what_nnunets_own_extractor_takes(planned, dataset, tmp_path):
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    stock = Workspace.below(tmp_path)
    stock.raw.mkdir()
    (stock.raw / DATASET_NAME).symlink_to(dataset)
    stock.activate()
    theirs = DatasetFingerprintExtractor(DATASET_NAME, num_processes=1).run()
    ours = json.loads((Workspace.below(planned[0]).dataset / "dataset_fingerprint.json").read_text())
    assert ours["shapes_after_crop"] == [list(shape) for shape in theirs["shapes_after_crop"]]
    assert ours["spacings"] == [list(spacing) for spacing in theirs["spacings"]]
    intensities = ours["foreground_intensity_properties_per_channel"]["0"]
    assert intensities == theirs["foreground_intensity_properties_per_channel"][0]


def test_planning_again_gives_the_same_digest_and_touches_no_finished_case(planned, dataset, plan_recipe):
    folder, digest, _ = planned
    workspace = Workspace.below(folder)
    preprocessed = workspace.dataset / "nnUNetPlans_3d_fullres"
    lost = sorted(preprocessed.glob("*.pkl"))[0]
    lost.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in preprocessed.iterdir() if lost.stem not in path.name}
    workspace.activate()
    again = plan_and_preprocess(dataset=dataset, workspace=workspace, recipe=plan_recipe, on_case=lambda *_: None)
    after = {path.name: path.stat().st_mtime_ns for path in preprocessed.iterdir() if lost.stem not in path.name}
    assert (again, after) == (digest, before)
    assert lost.is_file(), "the case that was not whole is made again"


def fresh(dataset, folder):
    """A workspace that knows its data set, but has planned nothing."""
    workspace = Workspace.below(folder)
    workspace.dataset.mkdir(parents=True)
    workspace.raw.mkdir()
    (workspace.raw / DATASET_NAME).symlink_to(dataset)
    for file in ("dataset.json", "splits_final.json"):
        (workspace.dataset / file).write_bytes((dataset / file).read_bytes())
    workspace.activate()
    return workspace


def plan_with(dataset, folder, recipe, *, shape=(300, 256, 256)):
    """Plan for a set whose scans are said to have ``shape`` at 1.5 mm."""
    from spine.nnunet.plans import make_plans

    workspace = fresh(dataset, folder)
    cases = len(training_cases(dataset))
    fingerprint = {
        "shapes_after_crop": [list(shape)] * cases,
        "spacings": [[1.5, 1.5, 1.5]] * cases,
        "foreground_intensity_properties_per_channel": {"0": dict.fromkeys(("mean", "std"), 1.0)},
        "median_relative_size_after_cropping": 1.0,
    }
    (workspace.dataset / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return make_plans(recipe)["configurations"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "spine"])
def test_the_recipes_for_gpus_plan_a_network_for_their_patch(name, dataset, tmp_path):
    recipe = load_recipe(name).plan
    configuration = plan_with(dataset, tmp_path, recipe)["3d_fullres"]
    arguments = configuration["architecture"]["arch_kwargs"]
    assert configuration["patch_size"] == list(reversed(recipe.patch))
    assert len(arguments["strides"]) == len(arguments["features_per_stage"]) == arguments["n_stages"]
    expected = "ResidualEncoderUNet" if name == "spine" else "PlainConvUNet"
    assert configuration["architecture"]["network_class_name"].endswith(expected)


@pytest.mark.slow
def test_a_cascade_keeps_both_stages_and_overrides_the_full_resolution(dataset, tmp_path):
    recipe = PlanRecipe(
        planner="nnUNetPlannerResEncM",
        configuration="3d_cascade_fullres",
        spacing_mm=(1.4, 1.5, 1.6),
        patch=(64, 64, 128),
        batch_size=3,
    )
    stages = plan_with(dataset, tmp_path, recipe)
    assert list(stages) == ["3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    assert stages["3d_cascade_fullres"] == {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    full, low = stages["3d_fullres"], stages["3d_lowres"]
    assert (full["spacing"], full["patch_size"], full["batch_size"]) == ([1.6, 1.5, 1.4], [128, 64, 64], 3)
    assert low["next_stage"] == "3d_cascade_fullres"
    assert low["spacing"][0] > 1.6


@pytest.mark.slow
def test_a_low_resolution_of_its_own_takes_spacing_and_patch_and_awaits_no_next_stage(dataset, tmp_path):
    recipe = PlanRecipe(
        planner="ExperimentPlanner",
        configuration="3d_lowres",
        spacing_mm=(3, 3, 4),
        patch=(32, 32, 64),
        batch_dice=True,
    )
    stages = plan_with(dataset, tmp_path, recipe)
    assert list(stages) == ["3d_lowres"]
    low = stages["3d_lowres"]
    assert (low["spacing"], low["patch_size"], low["batch_dice"]) == ([4.0, 3.0, 3.0], [64, 32, 32], True)
    assert "next_stage" not in low


@pytest.mark.slow
def test_two_dimensions_take_the_axial_part_of_the_triples(dataset, tmp_path):
    recipe = PlanRecipe(
        planner="ExperimentPlanner",
        configuration="2d",
        spacing_mm=(1.0, 1.25, 9),
        patch=(64, 96, 1),
        network=Network(features_per_stage=(4, 8, 8)),
    )
    flat = plan_with(dataset, tmp_path, recipe)["2d"]
    assert (flat["spacing"], flat["patch_size"]) == ([1.25, 1.0], [96, 64])
    assert flat["architecture"]["arch_kwargs"]["strides"] == [[1, 1], [2, 2], [2, 2]]


@pytest.mark.slow
def test_a_patch_larger_than_the_images_is_planned(dataset, tmp_path):
    recipe = PlanRecipe(planner="nnUNetPlannerResEncM", spacing_mm=(3, 3, 3), patch=(128, 128, 256))
    whole = plan_with(dataset, tmp_path, recipe, shape=(100, 90, 80))["3d_fullres"]
    assert whole["patch_size"] == [256, 128, 128]


@pytest.mark.slow
def test_a_configuration_that_the_planner_leaves_out_is_refused_with_those_that_exist(dataset, tmp_path):
    recipe = PlanRecipe(planner="ExperimentPlanner", configuration="3d_lowres")
    with pytest.raises(InvalidValueError, match=r"'3d_lowres'; expected one that .*: 2d, 3d_fullres"):
        plan_with(dataset, tmp_path, recipe, shape=(80, 70, 60))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"configuration": "2d", "patch": (64, 64, 64)}, "1 voxel high"),
        ({"planner": "nnUNetPlannerResEncL", "patch": (64, 64, 64), "network": {}}, "needs ExperimentPlanner"),
        ({"configuration": "2d", "patch": (65, 64, 1), "network": {}}, "divisible by 4"),
    ],
)
def test_overrides_that_fit_no_network_are_refused(given, reason):
    network = {"network": Network(features_per_stage=(4, 8, 8))} if "network" in given else {}
    with pytest.raises(ValueError, match=reason):
        PlanRecipe(**{"planner": "ExperimentPlanner", **given, **network})


@pytest.mark.slow
def test_a_fingerprint_goes_on_where_it_was_and_is_the_same(planned, dataset, tmp_path, monkeypatch):
    from spine.nnunet import fingerprint

    target = tmp_path / "dataset_fingerprint.json"
    cases = training_cases(dataset)
    read = []

    def until_the_third(image, labels):
        if len(read) == 2 and not is_second_run:
            raise KeyboardInterrupt
        read.append(labels.name.removesuffix(".nii.gz"))
        return read_case(image, labels)

    read_case, is_second_run = fingerprint.read_case, []
    monkeypatch.setattr(fingerprint, "read_case", until_the_third)
    scratch = Scratch(tmp_path / "scratch")
    given = {"dataset": dataset, "target": target, "scratch": scratch, "threads": 1, "on_case": lambda *_: None}
    with pytest.raises(KeyboardInterrupt):
        fingerprint.take_fingerprint(**given)
    is_second_run.append(True)
    fingerprint.take_fingerprint(**given)
    scratch.give_up()
    assert read == cases, "no case is read twice"
    assert target.read_bytes() == (Workspace.below(planned[0]).dataset / target.name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_both_stages_of_a_cascade_are_preprocessed_and_what_a_killed_run_left_is_cleared(planned, dataset, tmp_path):
    from spine.nnunet.preprocessed import preprocess_cases

    workspace = fresh(dataset, tmp_path)
    for file in ("dataset_fingerprint.json", "nnUNetPlans.json"):
        (workspace.dataset / file).write_bytes((Workspace.below(planned[0]).dataset / file).read_bytes())
    plans = json.loads((workspace.dataset / "nnUNetPlans.json").read_text())
    low = {**plans["configurations"]["3d_fullres"], "spacing": [12.0, 12.0, 12.0], "data_identifier": "low"}
    plans["configurations"]["3d_lowres"] = low
    (workspace.dataset / "nnUNetPlans.json").write_text(json.dumps(plans))
    (workspace.preprocessed / ".partial-dead").mkdir()
    told = []
    preprocess_cases(
        dataset=dataset,
        workspace=workspace,
        configurations=("3d_lowres", "3d_fullres"),
        scratch=Scratch(tmp_path / "scratch"),
        threads=1,
        on_case=lambda *progress: told.append(progress),
    )
    cases = training_cases(dataset)
    for folder in ("low", "nnUNetPlans_3d_fullres"):
        assert sorted(path.stem for path in (workspace.dataset / folder).glob("*.pkl")) == cases
    assert told == [("preprocess", index, 2 * len(cases)) for index in range(1, 2 * len(cases) + 1)]
    assert not list(workspace.preprocessed.glob(".partial-*"))


def test_a_disk_without_room_is_told_before_any_case_is_touched(planned, dataset, tmp_path, monkeypatch):
    from spine.nnunet import preprocessed

    workspace = Workspace.below(planned[0])
    folder = workspace.dataset / "nnUNetPlans_3d_fullres"
    lost = sorted(folder.glob("*.pkl"))[0]
    kept = lost.read_bytes()
    lost.unlink()
    monkeypatch.setattr(preprocessed.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OutOfSpaceError, match=r"GB free for preprocessing 1 case \(has 0\.0 GB\)"):
        preprocessed.preprocess_cases(
            dataset=dataset,
            workspace=workspace,
            configurations=("3d_fullres",),
            scratch=Scratch(tmp_path / "scratch"),
            threads=1,
            on_case=lambda *_: None,
        )
    assert not lost.exists()
    lost.write_bytes(kept)


def test_a_workspace_of_other_plans_or_of_another_data_set_is_refused(planned, dataset, plan_recipe, tmp_path):
    workspace = Workspace.below(planned[0])
    workspace.activate()
    other = plan_recipe.model_copy(update={"batch_size": 5})
    with pytest.raises(DigestMismatchError, match=r"nnUNetPlans\.json"):
        plan_and_preprocess(dataset=dataset, workspace=workspace, recipe=other, on_case=lambda *_: None)
    shutil.copytree(dataset, tmp_path / "copy")
    with pytest.raises(InvalidValueError, match="data set of the plan"):
        plan_and_preprocess(dataset=tmp_path / "copy", workspace=workspace, recipe=plan_recipe, on_case=lambda *_: None)


def test_a_damaged_case_and_a_set_without_cases_are_named(dataset, plan_recipe, tmp_path):
    damaged = tmp_path / "data"
    shutil.copytree(dataset, damaged)
    image = sorted((damaged / "imagesTr").iterdir())[1]
    image.write_bytes(image.read_bytes()[:2000])
    workspace = Workspace.below(tmp_path / "plan")
    workspace.activate()
    given = {"workspace": workspace, "recipe": plan_recipe, "on_case": lambda *_: None}
    with pytest.raises(UnreadableVolumeError, match=image.name):
        plan_and_preprocess(dataset=damaged, **given)
    shutil.rmtree(damaged / "imagesTr")
    with pytest.raises(MissingPathError, match="imagesTr"):
        plan_and_preprocess(dataset=damaged, **given)
