"""Augmentation gives stock's images, labels and random numbers, bit for bit."""

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from spine.nnunet.augmentation import CompiledSpatialTransform, faster, reproducible, rounds_like_torch

ROTATION = (-np.pi / 6, np.pi / 6)
NNUNETS = {"border_mode_seg": "constant", "padding_value_seg": -1, "p_synchronize_scaling_across_axes": 1}
WARP = {"p_rotation": 1, "rotation": ROTATION, "p_scaling": 1, "scaling": (0.7, 1.4)}


def sample(seed, shape, *, labels=26, lowest=-1, block=3, channels=1):
    """A noise image, and labels in blocks: nearly every cell of the grid has several."""
    random = np.random.default_rng(seed)
    coarse = random.integers(lowest, lowest + labels, (channels, *(-(-size // block) for size in shape)))
    for axis in range(1, coarse.ndim):
        coarse = coarse.repeat(block, axis=axis)
    whole = coarse[(slice(None), *(slice(size) for size in shape))].astype(np.int16)
    image = random.standard_normal((1, *shape), dtype=np.float32)
    return {"image": torch.from_numpy(image), "segmentation": torch.from_numpy(whole)}


def outcome(transforms, given, seed):
    """Everything that a call leaves behind, as types, shapes and bytes."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    made = transforms(**{name: value.clone() for name, value in given.items()})
    labels = made["segmentation"] if isinstance(made["segmentation"], list) else [made["segmentation"]]
    arrays = [tensor.numpy() for tensor in (made["image"], *labels, torch.get_rng_state())]
    state = np.random.get_state()
    return [(a.dtype, a.shape, a.tobytes()) for a in (*arrays, state[1])] + [state[2:]]


def assert_alike(given, seeds, patch, **settings):
    stock = SpatialTransform(patch, **{"patch_center_dist_from_border": 0, "random_crop": False, **NNUNETS, **settings})
    ours = CompiledSpatialTransform.of(stock)
    for seed in seeds:
        assert outcome(ours, given, seed) == outcome(stock, given, seed)


def pipeline(patch, *, dummy_2d=False, cascaded=False):
    scales = [[1.0] * len(patch), [0.5] * len(patch)]
    axes = tuple(range(len(patch)))
    foreground = [1, 2, 3]
    return nnUNetTrainer.get_training_transforms(
        np.array(patch), ROTATION, scales, axes, dummy_2d, is_cascaded=cascaded, foreground_labels=foreground
    )


def test_the_kernels_are_in_use_here():
    assert rounds_like_torch()


@pytest.mark.parametrize("patch", [(32, 24, 40), (17, 1, 33)])
@pytest.mark.parametrize("labels", [1, 2, 3, 26])
@pytest.mark.parametrize("lowest", [-1, 0])
def test_warped_volumes_are_stocks(patch, labels, lowest):
    assert_alike(sample(labels, (48, 41, 52), labels=labels, lowest=lowest), range(3), patch, **WARP)


@pytest.mark.parametrize("lowest", [-1, 0, 4])
@pytest.mark.parametrize("labels", [1, 2, 26])
@pytest.mark.parametrize("border", ["constant", "zeros"])
def test_a_patch_that_reaches_far_outside_is_stocks(lowest, labels, border):
    far = {**WARP, "scaling": (1.2, 3), "p_synchronize_scaling_across_axes": 0, "border_mode_seg": border}
    assert_alike(sample(3, (30, 25, 28), labels=labels, lowest=lowest), range(4), (32, 24, 40), **far)


@pytest.mark.parametrize("scaling", [0.125, 0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("rotation", [0.0, np.pi / 4, np.pi / 2])
@pytest.mark.parametrize("labels", [2, 4])
def test_ties_fall_as_in_stock(scaling, rotation, labels):
    given = sample(5, (32, 32, 32), labels=labels, block=1)
    assert_alike(given, range(1), (33, 24, 40), **{**WARP, "scaling": scaling, "rotation": rotation})


def near_ties(labels, count):
    """Points where label 1 scores half a float16 step off 500, so that the last bit of a sum decides how it rounds."""
    random = np.random.default_rng(0)
    z, y, x = random.integers(0, len(labels) - 1, (3, count))
    up_z, up_y = random.uniform(size=(2, count))
    faces = [
        sum(
            (labels[z + dz, y + dy, x + dx] == 1) * abs(1 - dz - up_z) * abs(1 - dy - up_y)
            for dz in (0, 1)
            for dy in (0, 1)
        )
        for dx in (0, 1)
    ]
    with np.errstate(all="ignore"):
        up_x = (0.5 + random.choice([-0.000125, 0.000125], count) - faces[0]) / (faces[1] - faces[0])
    places = np.stack([x + up_x, y + up_y, z + up_z], axis=1)[(up_x > 0) & (up_x < 1)]
    return torch.from_numpy(((places * 2 + 1) / len(labels) - 1).astype(np.float32))[None, None]


@pytest.mark.parametrize("has_third", [False, True], ids=["two labels", "three labels"])
def test_near_ties_round_as_in_stock(has_third):
    labels = np.random.default_rng(1).integers(0, 2, (16, 16, 16)).astype(np.int16)
    labels[0, 0, 0] = 2 if has_third else 1
    grid = near_ties(labels, 50_000)
    stock = SpatialTransform(grid.shape[:3], patch_center_dist_from_border=0, random_crop=False, **NNUNETS)
    ours = CompiledSpatialTransform.of(stock)
    segmentation = torch.from_numpy(labels)[None]
    expected = stock._apply_to_segmentation(segmentation, grid=grid)
    assert torch.equal(ours._apply_to_segmentation(segmentation, grid=grid), expected)


def test_a_random_centre_is_stocks():
    settings = {**WARP, "p_rotation": 0.5, "random_crop": True, "patch_center_dist_from_border": [8, 30, 12]}
    assert_alike(sample(1, (48, 41, 52), labels=9), range(8), (24, 24, 24), **settings)


def test_each_of_two_label_channels_is_stocks():
    given = sample(2, (40, 40, 40), labels=5, channels=2)
    given["segmentation"][1] = (given["segmentation"][1] > 1).to(torch.int16)
    assert_alike(given, range(4), (32, 24, 40), **WARP)


@pytest.mark.parametrize(
    "settings",
    [
        {"p_elastic_deform": 1},
        {"align_corners": True},
        {"seg_tiebreak": "lowest"},
        {"border_mode_seg": "reflection"},
        {"padding_value_seg": 7},
        {"mode_seg": "nearest"},
        {"padding_mode_image": "border"},
        {"padding_mode_image": "constant", "padding_value_image": 2},
        {"bg_style_seg_sampling": True},
    ],
    ids=str,
)
def test_other_settings_are_stocks_too(settings):
    assert_alike(sample(4, (26, 30, 28)), range(3), (24, 20, 28), **{**WARP, "scaling": (0.7, 2), **settings})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32])
def test_labels_of_other_types_are_stocks_too(dtype):
    given = sample(4, (26, 30, 28), lowest=0)
    given["segmentation"] = given["segmentation"].to(dtype)
    assert_alike(given, range(2), (24, 20, 28), **WARP)


@pytest.mark.parametrize(
    ("patch", "shape", "kind"),
    [
        ((20, 16, 28), (32, 30, 45), {}),
        ((40, 32), (60, 55), {}),
        ((12, 40, 40), (12, 60, 60), {"dummy_2d": True}),
        ((24, 24, 24), (36, 36, 36), {"cascaded": True}),
    ],
    ids=["3-D", "2-D", "dummy 2-D", "cascade"],
)
def test_whole_pipelines_are_stocks(patch, shape, kind):
    # Two of the cascade's transforms keep state from call to call, so the pipelines must not share them.
    stock, ours = pipeline(patch, **kind), faster(pipeline(patch, **kind))
    given = sample(6, shape, labels=5 if kind.get("cascaded") else 27, channels=2 if kind.get("cascaded") else 1)
    for seed in range(12):
        assert outcome(ours, given, seed) == outcome(stock, given, seed)


@pytest.mark.parametrize("dummy_2d", [False, True])
def test_only_the_spatial_transform_is_replaced_and_the_given_pipeline_is_left_alone(dummy_2d):
    stock = pipeline((12, 40, 40), dummy_2d=dummy_2d)
    before = list(stock.transforms)
    changed = [ours for ours, theirs in zip(faster(stock).transforms, before, strict=True) if ours is not theirs]
    assert [type(transform) for transform in changed] == [CompiledSpatialTransform]
    assert stock.transforms == before


def test_blurring_does_not_depend_on_what_is_faster_at_the_moment():
    stock = pipeline((16, 16, 16))
    settled = reproducible(stock)
    (blur,) = [step.transform for step in settled.transforms if "GaussianBlur" in repr(step)]
    blur._benchmark_wrapper = lambda *_: pytest.fail("timed")
    given = sample(1, (16, 16, 16))
    blur.p_per_channel = 1
    assert not torch.equal(blur(image=given["image"].clone())["image"], given["image"])
    assert [step.transform.benchmark for step in stock.transforms if "GaussianBlur" in repr(step)] == [True]
