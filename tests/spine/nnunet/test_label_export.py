"""Label maps from logits: nnU-Net's own export decides what is right, crop, transposes and separate slices included."""

import json

import numpy as np
import pytest
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spine.nnunet.label_export import LabelExport

TORCH = {"resampling_fn_probabilities": "resample_torch_fornnunet", "resampling_fn_probabilities_kwargs": {}}
SKIMAGE = "resampling_fn_probabilities_kwargs"


@pytest.fixture
def export(bundles):
    """A function that returns the export of the tiny model's plans with some things changed."""
    given = {name: json.loads((bundles[1] / "model" / f"{name}.json").read_text()) for name in ("plans", "dataset")}

    def make(*, transpose=(0, 1, 2), labels=None, **changed):
        configuration = {**given["plans"]["configurations"]["3d_fullres"], **changed}
        backward = [transpose.index(axis) for axis in range(3)]
        order = {"transpose_forward": list(transpose), "transpose_backward": backward}
        plans = PlansManager({**given["plans"], **order, "configurations": {"any": configuration}})
        dataset_json = {**given["dataset"], **(labels or {})}
        return LabelExport(plans, plans.get_configuration("any"), plans.get_label_manager(dataset_json), 1)

    return make


def properties(transpose, *, spacing=(3.0, 2.0, 2.5), cropped=(20, 30, 26)):
    """Return what preprocessing notes of a scan whose box, in the plans' order, lies a few voxels inside of it."""
    first = (2, 0, 3)
    return {
        "spacing": list(spacing),
        "shape_before_cropping": tuple(low + size + 4 for low, size in zip(first, cropped, strict=True)),
        "bbox_used_for_cropping": [[low, low + size] for low, size in zip(first, cropped, strict=True)],
        "shape_after_cropping_and_before_resampling": cropped,
    }


def smooth_logits(shape, *, classes=26):
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(classes, *(size // 3 + 1 for size in shape)))
    fine = coarse.repeat(3, axis=1).repeat(3, axis=2).repeat(3, axis=3)
    return fine[:, : shape[0], : shape[1], : shape[2]].astype(np.float32) + rng.normal(
        scale=0.05, size=(classes, *shape)
    ).astype(np.float32)


def stock(export, logits, given):
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, export.plans, export.configuration, export.labels, given, num_threads_torch=1
    )


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("spacing", [(3.0, 2.0, 2.5), (1.0, 9.0, 1.5)])
def test_torch_plans_give_nnunets_labels_to_the_voxel(export, transpose, spacing):
    made, given = export(transpose=transpose, **TORCH), properties(transpose, spacing=spacing)
    logits = smooth_logits((10, 9, 11))
    assert made.is_fast
    assert np.array_equal(made(logits, given), stock(made, logits, given))


@pytest.mark.parametrize("force_separate_z", [None, False])
@pytest.mark.parametrize("spacing", [(3.0, 2.0, 2.5), (9.0, 1.0, 1.5)])
def test_plans_of_order_one_give_nnunets_labels_but_for_rounding(export, force_separate_z, spacing):
    keywords = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": force_separate_z}
    made, given = export(**{SKIMAGE: keywords}), properties((0, 1, 2), spacing=spacing)
    logits = smooth_logits((10, 9, 11))
    assert made.is_fast
    assert (made(logits, given) == stock(made, logits, given)).mean() > 0.9999


@pytest.mark.parametrize(
    "changed",
    [
        {SKIMAGE: {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}},
        {SKIMAGE: {"is_seg": False, "order": 1, "order_z": 1, "force_separate_z": None}},
        {SKIMAGE: {"force_separate_z": None}},
        {**TORCH, SKIMAGE: {"mode": "nearest-exact"}},
    ],
)
def test_what_is_not_linear_is_left_to_nnunet(export, changed):
    made, given = export(**changed), properties((0, 1, 2))
    logits = smooth_logits((10, 9, 11))
    assert not made.is_fast
    assert np.array_equal(made(logits, given), stock(made, logits, given))


def test_labels_that_are_regions_are_left_to_nnunet(export):
    regions = {"labels": {"background": 0, "spine": [1, 2], "last": [2]}, "regions_class_order": [1, 2]}
    made, given = export(labels=regions), properties((0, 1, 2))
    logits = smooth_logits((10, 9, 11), classes=2)
    assert not made.is_fast
    assert np.array_equal(made(logits, given), stock(made, logits, given))
