"""A registry whose version in use has random weights: enough to measure what surrounds a network."""

from pathlib import Path
from typing import Any

import numpy as np

from model_registry.bundle import GOLDEN_IMAGE, GOLDEN_LABELS, MANIFEST_FILE, MODEL_FOLDER, Bundle, BundleManifest
from model_registry.bundle import list_files as listed
from model_registry.gate import judge
from model_registry.lifecycle import Registry
from model_registry.policy import Floors, Policy
from spine.labels import VERTEBRAE
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME
from spine.phantom import make_scan
from spine.recipe import PlanRecipe, Recipe, TrainingRecipe
from spine.storage import digest_bytes, digest_value, write_json
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume

CONFIGURATION = "3d_fullres"
SPACING_MM, PATCH = 3.0, 48
FEATURES = (16, 32, 64, 128)
RECIPE = Recipe(
    name="untrained",
    about="Random weights, for a measurement.",
    plan=PlanRecipe(planner="ExperimentPlanner"),
    training=TrainingRecipe(folds=(0,), epochs=1),
)
POLICY = Policy(
    name="lenient", about="Anything passes.", minimum_scans=2, floors=Floors(dice_scan_mean=0), separate_approver=False
)


def make_root(root: Path) -> None:
    """Write, register, approve and promote the one version below ``root``."""
    registry = Registry(root)
    bundle = _write_bundle(root / "versions" / "1")
    registry.register(version=1, bundle=bundle, actor="benchmark", reason="to be measured")
    registry.approve(1, actor="benchmark", reason="to be measured")
    registry.promote(1, actor="benchmark", reason="to be measured", expected_serving=None)


def _write_bundle(folder: Path) -> Bundle:
    model = folder / MODEL_FOLDER
    names = {"background": 0, **{vertebra.name: vertebra.id for vertebra in VERTEBRAE}}
    described = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 2, "file_ending": ".nii.gz"}
    write_json(model / "plans.json", plans())
    write_json(model / "dataset.json", described)
    folds = {0: _write_weights(model / "fold_0", described)}
    _write_golden_case(folder, folds)
    evaluation = _evaluation()
    verdict = judge(candidate=evaluation, champion=None, policy=POLICY)
    for name, value in (("recipe", RECIPE), ("evaluation", evaluation), ("policy", POLICY)):
        write_json(folder / f"{name}.json", value.model_dump(mode="json"))
    verdict.write(folder / "verdict.json")
    manifest = BundleManifest(
        files=listed(folder),
        folds=folds,
        configuration=CONFIGURATION,
        recipe_name=RECIPE.name,
        plan=digest_value(plans()),
        evaluation=evaluation.digest,
        verdict=verdict.digest,
        git_revision="0" * 40,
        dvc_hash=digest_bytes(b"no data set")[-32:],
    )
    write_json(folder / MANIFEST_FILE, manifest.model_dump(mode="json"))
    return Bundle(folder)


def _write_weights(folder: Path, described: dict[str, Any]) -> str:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from spine.nnunet import checkpoint_files, checkpoints

    manager = PlansManager(plans())
    torch.manual_seed(1)
    heads = manager.get_label_manager(described).num_segmentation_heads
    network = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration(CONFIGURATION), 1, heads, enable_deep_supervision=False
    )
    checkpoint = {
        "network_weights": network.state_dict(),
        "inference_allowed_mirroring_axes": (2,),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": CONFIGURATION, "fold": 0},
    }
    return checkpoints.save(checkpoint, folder / checkpoint_files.FINAL)


def _write_golden_case(folder: Path, folds: dict[int, str]) -> None:
    import torch

    from spine.nnunet.segmentation import Segmenter

    segmenter = Segmenter.from_model_folder(
        folder / MODEL_FOLDER,
        digests=folds,
        configuration=CONFIGURATION,
        recipe=RECIPE.prediction,
        device=torch.device("cpu"),
        threads=torch.get_num_threads(),
    )
    image = make_scan(seed=1, patient=0, spacing_mm=(6.0, 6.0, 6.0)).image
    write_volume(folder / GOLDEN_IMAGE, image)
    write_volume(folder / GOLDEN_LABELS, segmenter.segment(image))


def _evaluation() -> Evaluation:
    array = np.zeros((16, 16, 40), dtype=np.uint8)
    array[3:13, 3:13, 5:15], array[3:13, 3:13, 20:30] = 21, 20
    volume = Volume(array=array, grid=Grid.of(array.shape, np.diag([1.5, 1.5, 1.5, 1.0])))
    scans = tuple(score_scan(case=f"case_{n}", patient=None, reference=volume, prediction=volume) for n in range(2))
    return Evaluation(name=RECIPE.name, scans=scans, summary=summarize(scans))


def plans() -> dict[str, Any]:
    """Return nnU-Net's plans of a plain U-Net of four stages at 3 mm."""
    name, linear = (
        "resample_data_or_seg_to_shape",
        {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    )
    resampling = {
        "resampling_fn_data": name,
        "resampling_fn_seg": name,
        "resampling_fn_probabilities": name,
        "resampling_fn_data_kwargs": {**linear, "order": 3},
        "resampling_fn_seg_kwargs": {**linear, "is_seg": True},
        "resampling_fn_probabilities_kwargs": linear,
    }
    stages = len(FEATURES)
    keywords = {
        "n_stages": stages,
        "features_per_stage": list(FEATURES),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": keywords,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "untrained",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [PATCH] * 3,
        "spacing": [SPACING_MM] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "architecture": architecture,
        "batch_dice": False,
        **resampling,
    }
    intensities = {"mean": 300.0, "std": 200.0, "percentile_00_5": -100.0, "percentile_99_5": 1200.0}
    return {
        "dataset_name": DATASET_NAME,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [SPACING_MM] * 3,
        "original_median_shape_after_transp": [100, 60, 60],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
        "configurations": {CONFIGURATION: configuration},
    }
