"""Planning: nnU-Net's own, with a recipe's overrides, found again case by case."""

import json

import pytest

from spine.nnunet.planning import plan_and_preprocess, training_cases
from spine.nnunet.workspace import DATASET_NAME, Workspace
from spine.recipe import load_recipe


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
    assert intensities == pytest.approx(theirs["foreground_intensity_properties_per_channel"][0])


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "spine"])
def test_the_recipes_for_gpus_plan_a_network_for_their_patch(name, dataset, tmp_path):
    from spine.nnunet.planning import _plans

    recipe = load_recipe(name).plan
    workspace = Workspace.below(tmp_path)
    workspace.dataset.mkdir(parents=True)
    workspace.raw.mkdir()
    (workspace.raw / DATASET_NAME).symlink_to(dataset)
    for file in ("dataset.json", "splits_final.json"):
        (workspace.dataset / file).write_bytes((dataset / file).read_bytes())
    workspace.activate()
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    DatasetFingerprintExtractor(DATASET_NAME, num_processes=1).run()
    configuration = _plans(recipe)["configurations"]["3d_fullres"]
    arguments = configuration["architecture"]["arch_kwargs"]
    assert configuration["patch_size"] == list(reversed(recipe.patch))
    assert len(arguments["strides"]) == len(arguments["features_per_stage"]) == arguments["n_stages"]
    expected = "ResidualEncoderUNet" if name == "spine" else "PlainConvUNet"
    assert configuration["architecture"]["network_class_name"].endswith(expected)
