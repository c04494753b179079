"""Fingerprint, plans and preprocessed cases: nnU-Net's own, with a recipe's overrides written into the plans."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spine.nnunet.workspace import CHANNEL_SUFFIX, DATASET_NAME, PLANS_NAME, Workspace
from spine.recipe import Network, PlanRecipe
from spine.storage import digest_value, write_json

_PLANNERS: dict[str, type[ExperimentPlanner]] = {
    "ExperimentPlanner": ExperimentPlanner,
    "nnUNetPlannerResEncM": nnUNetPlannerResEncM,
    "nnUNetPlannerResEncL": nnUNetPlannerResEncL,
    "nnUNetPlannerResEncXL": nnUNetPlannerResEncXL,
}
_FOREGROUND_SAMPLES = 10e7  # as DatasetFingerprintExtractor draws them over the whole set
_MAX_FEATURES = 320
OnCase = Callable[[str, int, int], None]


def plan_and_preprocess(*, dataset: Path, workspace: Workspace, recipe: PlanRecipe, on_case: OnCase) -> str:
    """Plan for the training cases of ``dataset`` and preprocess them; return the digest of the plans.

    ``dataset`` is a folder in nnU-Net's raw layout, canonically oriented. Work that is done is found again, case by
    case. ``on_case(task, done, total)`` is called after every case.
    """
    workspace.dataset.mkdir(parents=True, exist_ok=True)
    raw = workspace.raw / DATASET_NAME
    if not raw.exists():
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.unlink(missing_ok=True)
        raw.symlink_to(dataset)
    shutil.copy(dataset / "dataset.json", workspace.dataset / "dataset.json")
    shutil.copy(dataset / "splits_final.json", workspace.dataset / "splits_final.json")
    fingerprint = workspace.dataset / "dataset_fingerprint.json"
    if not fingerprint.is_file():
        write_json(fingerprint, _fingerprint(dataset, on_case))
    plans_file = workspace.dataset / f"{PLANS_NAME}.json"
    # Planned anew until the step's record stands: nnU-Net saves plans under this name before the overrides are in.
    write_json(plans_file, _plans(recipe))
    _preprocess(dataset, workspace, recipe.configuration, on_case)
    return digest_value(load_json(str(plans_file)))


def training_cases(dataset: Path) -> list[str]:
    """Return the names of a raw data set's training cases, sorted."""
    suffix = f"{CHANNEL_SUFFIX}.nii.gz"
    return sorted(path.name.removesuffix(suffix) for path in (dataset / "imagesTr").glob(f"*{suffix}"))


def _fingerprint(dataset: Path, on_case: OnCase) -> dict[str, Any]:
    """Take nnU-Net's fingerprint with its own analysis of a case, in this process."""
    cases = training_cases(dataset)
    shapes, spacings, intensities, sizes = [], [], [], []
    for index, case in enumerate(cases):
        (shape, spacing, foreground, _, size), *_ = _analyze(dataset, case, len(cases))
        shapes.append([int(edge) for edge in shape])
        spacings.append([float(edge) for edge in spacing])
        intensities.append(foreground[0])
        sizes.append(float(size))
        on_case("fingerprint", index + 1, len(cases))
    values = np.concatenate(intensities)
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5))
    return {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": {
            "0": {
                "mean": float(values.mean()),
                "median": float(median),
                "std": float(values.std()),
                "min": float(values.min()),
                "max": float(values.max()),
                "percentile_99_5": float(high),
                "percentile_00_5": float(low),
            }
        },
        "median_relative_size_after_cropping": float(np.median(sizes)),
    }


def _analyze(dataset: Path, case: str, cases: int) -> tuple[Any, ...]:
    image = str(dataset / "imagesTr" / f"{case}{CHANNEL_SUFFIX}.nii.gz")
    label = str(dataset / "labelsTr" / f"{case}.nii.gz")
    samples = int(_FOREGROUND_SAMPLES // cases)
    return (DatasetFingerprintExtractor.analyze_case([image], label, SimpleITKIO, samples),)


def _plans(recipe: PlanRecipe) -> dict[str, Any]:
    spacing = [float(edge) for edge in array_order(recipe.spacing_mm)] if recipe.spacing_mm else None
    # Data are canonical: without a transpose, array axes are superior-inferior, anterior-posterior, left-right.
    planner = _PLANNERS[recipe.planner](
        DATASET_NAME, plans_name=PLANS_NAME, overwrite_target_spacing=spacing, suppress_transpose=True
    )
    planned = planner.plan_experiment()
    configuration = planned["configurations"][recipe.configuration]
    if recipe.batch_size:
        configuration["batch_size"] = recipe.batch_size
    if recipe.batch_dice is not None:
        configuration["batch_dice"] = recipe.batch_dice
    if recipe.patch:
        _override_patch(configuration, list(array_order(recipe.patch)), planner)
    if recipe.network:
        _override_network(configuration, recipe.network)
    planned["configurations"] = {recipe.configuration: configuration}
    recursive_fix_for_json_export(planned)
    return dict(json.loads(json.dumps(planned)))


def array_order(triple: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Turn left-right, anterior-posterior, superior-inferior into the order of nnU-Net's arrays."""
    return (triple[2], triple[1], triple[0])


def _override_patch(configuration: dict[str, Any], patch: list[int], planner: ExperimentPlanner) -> None:
    """Give the planner's network the topology that its own rules derive from another patch."""
    _, strides, kernels, padded, _ = get_pool_and_conv_props(
        configuration["spacing"], np.array(patch), planner.UNet_featuremap_min_edge_length, 999999
    )
    arguments = configuration["architecture"]["arch_kwargs"]
    stages = len(strides)
    encoder = "n_blocks_per_stage" if "n_blocks_per_stage" in arguments else "n_conv_per_stage"
    arguments.update(
        {
            "n_stages": stages,
            "features_per_stage": [
                min(_MAX_FEATURES, planner.UNet_base_num_features * 2**stage) for stage in range(stages)
            ],
            "kernel_sizes": kernels,
            "strides": strides,
            encoder: list(planner.UNet_blocks_per_stage_encoder[:stages]),
            "n_conv_per_stage_decoder": list(planner.UNet_blocks_per_stage_decoder[: stages - 1]),
        }
    )
    configuration["patch_size"] = [int(size) for size in padded]


def _override_network(configuration: dict[str, Any], network: Network) -> None:
    arguments = configuration["architecture"]["arch_kwargs"]
    stages = len(network.features_per_stage)
    arguments.update(
        {
            "n_stages": stages,
            "features_per_stage": list(network.features_per_stage),
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * (stages - 1) + [network.convolutions_deepest],
            "n_conv_per_stage_decoder": [2] * (stages - 1),
        }
    )


def _preprocess(dataset: Path, workspace: Workspace, configuration: str, on_case: OnCase) -> None:
    plans = PlansManager(str(workspace.dataset / f"{PLANS_NAME}.json"))
    manager = plans.get_configuration(configuration)
    target = workspace.dataset / manager.data_identifier
    target.mkdir(parents=True, exist_ok=True)
    preprocessor = DefaultPreprocessor(verbose=False)
    cases = training_cases(dataset)
    for index, case in enumerate(cases):
        # The properties file is moved last: where it stands, the case is whole.
        if not (target / f"{case}.pkl").is_file():
            with tempfile.TemporaryDirectory(dir=workspace.preprocessed, prefix=".partial-") as partial:
                preprocessor.run_case_save(
                    str(Path(partial) / case),
                    [str(dataset / "imagesTr" / f"{case}{CHANNEL_SUFFIX}.nii.gz")],
                    str(dataset / "labelsTr" / f"{case}.nii.gz"),
                    plans,
                    manager,
                    str(dataset / "dataset.json"),
                )
                for name in (f"{case}.b2nd", f"{case}_seg.b2nd", f"{case}.pkl"):
                    (Path(partial) / name).replace(target / name)
        on_case("preprocess", index + 1, len(cases))
