"""Resampling: label maps to the last tie, images within float32's rounding, as nnU-Net and scikit-image do it."""

import numpy as np
import pytest

from spine.volume.cropping import content_box, outside_zeros
from spine.volume.resampling import resample_image, resample_labels

pytest.importorskip("nnunetv2")

SHAPES = [
    ((9, 7, 11), (5, 4, 6)),
    ((9, 7, 11), (18, 21, 22)),
    ((9, 7, 11), (9, 13, 5)),
    ((1, 17, 16), (1, 9, 23)),
    ((1, 5, 4), (3, 2, 9)),
    ((2, 30, 3), (7, 10, 1)),
    ((16, 16, 16), (8, 8, 8)),
]
AXES = [None, 0, 1, 2]


def stock(array, shape, *, axis, order):
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg

    is_labels = array.dtype != np.float32
    given = array[None].astype(np.float32)
    return resample_data_or_seg(given, shape, is_labels, axis, order, axis is not None)[0]


def same_labels(labels, shape):
    for axis in AXES:
        ours = resample_labels(labels, shape, slices_along=axis)
        assert ours.dtype == labels.dtype
        np.testing.assert_array_equal(ours, stock(labels, shape, axis=axis, order=1))


@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_labels_are_those_of_nnunet_with_ties_and_labels_outside_the_image(old, new):
    rng = np.random.default_rng(1)
    same_labels(rng.integers(-1, 5, old).astype(np.int8), new)


def test_labels_in_blocks_resized_by_whole_factors_are_all_ties_and_still_the_same():
    blocks = np.kron(np.random.default_rng(2).integers(0, 4, (4, 4, 4)), np.ones((3, 3, 3))).astype(np.int8)
    for shape in ((6, 6, 6), (24, 24, 24), (36, 6, 12)):
        same_labels(blocks, shape)


@pytest.mark.parametrize("fill", [0, 7])
def test_a_label_map_of_one_label_stays_so(fill):
    same_labels(np.full((6, 5, 4), fill, np.int8), (9, 3, 8))


def test_a_label_of_one_voxel_is_kept_or_lost_as_by_nnunet():
    labels = np.zeros((8, 9, 10), np.int16)
    labels[4, 4, 4], labels[0, 0, 0] = 300, 25
    for shape in ((16, 18, 20), (4, 5, 5), (8, 9, 13)):
        same_labels(labels, shape)


def test_labels_of_random_volumes_are_those_of_nnunet():
    rng = np.random.default_rng(3)
    for _ in range(40):
        old, new = (tuple(int(edge) for edge in rng.integers(1, 16, 3)) for _ in range(2))
        if old != new:
            same_labels(rng.integers(-1, 4, old).astype(np.int8), new)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(("old", "new"), SHAPES)
def test_images_are_those_of_nnunet_within_float32_and_clipped_like_them(old, new, order):
    image = np.random.default_rng(4).normal(0, 2, old).astype(np.float32)
    for axis in AXES:
        ours = resample_image(image, new, order=order, slices_along=axis, normalize=np.asarray)
        theirs = stock(image, new, axis=axis, order=order)
        assert ours.dtype == theirs.dtype
        assert np.abs(ours - theirs).max() <= 2e-6
        assert ours.max() <= image.max()


def test_an_image_larger_than_a_slab_and_a_band_is_normalized_in_parts_with_one_result():
    image = np.random.default_rng(5).integers(-1000, 2000, (130, 160, 150)).astype(np.int16)
    ours = resample_image(image, (90, 70, 200), order=3, normalize=lambda part: (part / 500).astype(np.float32))
    theirs = stock((image / 500).astype(np.float32), (90, 70, 200), axis=None, order=3)
    assert np.abs(ours - theirs).max() <= 2e-6


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(1, 9, 8, 7), (2, 6, 5, 12), (1, 1, 9, 9), (1, 12, 1, 3)])
def test_zeros_that_reach_the_border_are_outside_as_filling_holes_has_it(share, shape):
    from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask, crop_to_nonzero

    rng = np.random.default_rng(int(share * 100))
    for _ in range(20):
        data = np.where(rng.random(shape) < share, 0, rng.integers(-3, 4, shape)).astype(np.int16)
        outside = outside_zeros(data)
        mask = create_nonzero_mask(data)
        np.testing.assert_array_equal(np.zeros(shape[1:], bool) if outside is None else outside, ~mask)
        assert content_box(mask) == crop_to_nonzero(data.astype(np.float32))[2]
