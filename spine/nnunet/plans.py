"""nnU-Net's plans with a recipe's overrides written into them."""

import contextlib
import io
import json
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from spine.errors import InvalidValueError
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME
from spine.recipe import Network, PlanRecipe

_PLANNERS: dict[str, type[ExperimentPlanner]] = {
    "ExperimentPlanner": ExperimentPlanner,
    "nnUNetPlannerResEncM": nnUNetPlannerResEncM,
    "nnUNetPlannerResEncL": nnUNetPlannerResEncL,
    "nnUNetPlannerResEncXL": nnUNetPlannerResEncXL,
}
_LOWRES, _FULLRES, _CASCADE = "3d_lowres", "3d_fullres", "3d_cascade_fullres"


def make_plans(recipe: PlanRecipe) -> dict[str, Any]:
    """Plan with the recipe's planner from the active workspace's fingerprint; write the recipe's overrides in.

    Only the recipe's configuration is kept, and of a cascade both stages; overrides are of its full-resolution stage.
    Raises InvalidValueError for a configuration that nnU-Net doesn't make for this data set.
    """
    planner = _planner(recipe)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every attempt at a low resolution
        planned = planner.plan_experiment()
    configurations = planned["configurations"]
    if recipe.configuration not in configurations:
        made = ", ".join(sorted(configurations))
        reason = "nnU-Net leaves out 3d_lowres and the cascade where images are small"
        expected = f"one that {recipe.planner} makes for this data set: {made} ({reason})"
        raise InvalidValueError("configuration", recipe.configuration, expected=expected)
    names = preprocessed_configurations(recipe.configuration)
    _override(configurations, names[-1], recipe, planner)
    kept = dict.fromkeys((*names, recipe.configuration))
    planned["configurations"] = {name: configurations[name] for name in kept}
    if recipe.configuration == _LOWRES:
        planned["configurations"][_LOWRES].pop("next_stage", None)
    recursive_fix_for_json_export(planned)
    return dict(json.loads(json.dumps(planned)))


def preprocessed_configurations(configuration: str) -> tuple[str, ...]:
    """Return the configurations whose cases a configuration is trained on; of a cascade, both its stages'."""
    return (_LOWRES, _FULLRES) if configuration == _CASCADE else (configuration,)


def array_order(triple: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Turn left-right, anterior-posterior, superior-inferior into the order of nnU-Net's arrays."""
    return (triple[2], triple[1], triple[0])


def _planner(recipe: PlanRecipe) -> ExperimentPlanner:
    planner = _PLANNERS[recipe.planner]
    spacing = None
    if recipe.spacing_mm and recipe.configuration != _LOWRES:
        spacing = [float(edge) for edge in array_order(recipe.spacing_mm)]
    # Plans are saved when the overrides are in, atomically, and not by the planner.
    quiet = type(planner.__name__, (planner,), {"save_plans": lambda self, plans: None})  # noqa: ARG005
    # Data are canonical: without a transpose, array axes are superior-inferior, anterior-posterior, left-right.
    return quiet(DATASET_NAME, plans_name=PLANS_NAME, overwrite_target_spacing=spacing, suppress_transpose=True)


def _override(configurations: dict[str, Any], name: str, recipe: PlanRecipe, planner: ExperimentPlanner) -> None:
    if recipe.spacing_mm and name == _LOWRES:
        configurations[name] |= _at_spacing(array_order(recipe.spacing_mm), planner)
    configuration = configurations[name]
    if recipe.batch_size:
        configuration["batch_size"] = recipe.batch_size
    if recipe.batch_dice is not None:
        configuration["batch_dice"] = recipe.batch_dice
    if recipe.patch:
        _override_patch(configuration, list(array_order(recipe.patch)), planner)
    if recipe.network:
        _override_network(configuration, recipe.network)


def _at_spacing(spacing_mm: tuple[float, ...], planner: ExperimentPlanner) -> dict[str, Any]:
    """Plan the low resolution anew at a spacing in the order of arrays, as the planner does at its own."""
    fingerprint = planner.dataset_fingerprint
    pairs = zip(fingerprint["shapes_after_crop"], fingerprint["spacings"], strict=True)
    median = np.median([compute_new_shape(shape, spacing, spacing_mm) for shape, spacing in pairs], axis=0)
    voxels = float(np.prod(median)) * planner.dataset_json["numTraining"]
    planned: dict[str, Any] = planner.get_plans_for_configuration(
        np.array(spacing_mm), tuple(median.round().astype(int)), planner.generate_data_identifier(_LOWRES), voxels, {}
    )
    return planned


def _override_patch(configuration: dict[str, Any], patch: list[int], planner: ExperimentPlanner) -> None:
    """Give the planner's network the topology that its own rules derive from another patch."""
    spacing = configuration["spacing"]
    _, strides, kernels, padded, _ = get_pool_and_conv_props(
        spacing, np.array(patch[-len(spacing) :]), planner.UNet_featuremap_min_edge_length, 999999
    )
    arguments = configuration["architecture"]["arch_kwargs"]
    stages = len(strides)
    encoder = "n_blocks_per_stage" if "n_blocks_per_stage" in arguments else "n_conv_per_stage"
    most = planner.UNet_max_features_2d if len(spacing) == 2 else planner.UNet_max_features_3d
    features = [min(most, planner.UNet_base_num_features * 2**stage) for stage in range(stages)]
    arguments.update(
        {
            "n_stages": stages,
            "features_per_stage": features,
            "kernel_sizes": kernels,
            "strides": strides,
            encoder: list(planner.UNet_blocks_per_stage_encoder[:stages]),
            "n_conv_per_stage_decoder": list(planner.UNet_blocks_per_stage_decoder[: stages - 1]),
        }
    )
    configuration["patch_size"] = [int(size) for size in padded]


def _override_network(configuration: dict[str, Any], network: Network) -> None:
    arguments = configuration["architecture"]["arch_kwargs"]
    stages, axes = len(network.features_per_stage), len(configuration["spacing"])
    arguments.update(
        {
            "n_stages": stages,
            "features_per_stage": list(network.features_per_stage),
            "kernel_sizes": [[3] * axes] * stages,
            "strides": [[1] * axes] + [[2] * axes] * (stages - 1),
            "n_conv_per_stage": [2] * (stages - 1) + [network.convolutions_deepest],
            "n_conv_per_stage_decoder": [2] * (stages - 1),
        }
    )
