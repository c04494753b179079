"""Joint counts against plain counting, and each Dice against its definition."""

import numpy as np
import pytest

from spine.errors import GridMismatchError, InvalidValueError
from spine.metrics.overlap import bone_dice, joint_counts, overlaps, present_dice


def counted_plainly(reference, prediction):
    counts = np.zeros((26, 26), dtype=np.int64)
    np.add.at(counts, (reference.ravel(order="C"), prediction.ravel(order="C")), 1)
    return counts


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (7, 5, 3), (16, 16, 16), (3, 1201, 1300)])
@pytest.mark.parametrize("orders", ["CC", "FF", "CF", "FC"])
def test_joint_counts_equal_voxelwise_counting_in_every_size_and_memory_order(shape, orders):
    random = np.random.default_rng(3)
    bone = random.random(shape) < 0.1
    reference, prediction = (
        np.asarray(np.where(bone, random.integers(0, 26, shape), 0), dtype=np.uint8, order=order) for order in orders
    )
    counts = joint_counts(reference=reference, prediction=prediction)
    assert np.array_equal(counts, counted_plainly(reference, prediction))


def test_joint_counts_take_slices_that_are_not_contiguous():
    whole = np.random.default_rng(4).integers(0, 26, (9, 9, 9), dtype=np.uint8)
    reference, prediction = whole[1:8, ::2, 1:], whole[::-1][1:8, ::2, 1:]
    counts = joint_counts(reference=reference, prediction=prediction)
    assert np.array_equal(counts, counted_plainly(reference, prediction))


@pytest.mark.parametrize("broken", ["reference", "prediction"])
def test_labels_above_25_are_refused_rather_than_counted_as_other_labels(stack, broken):
    maps = {"reference": stack(), "prediction": stack()}
    maps[broken][0, 0, 0] = 26
    with pytest.raises(InvalidValueError, match="26"):
        joint_counts(**maps)


def test_a_wider_dtype_is_refused(stack):
    with pytest.raises(InvalidValueError, match="int16"):
        joint_counts(reference=stack().astype(np.int16), prediction=stack())


def test_different_shapes_are_refused(stack):
    with pytest.raises(GridMismatchError, match="size"):
        joint_counts(reference=stack(), prediction=stack()[:-1])


def test_counts_of_a_label_are_its_tp_fp_and_fn(stack):
    reference, prediction = stack([20, 21]), stack([20, 21])
    prediction[3:13, 3:13, 38:40] = 0  # a quarter of 20 missed
    prediction[0:2, 0, 0] = 25
    found = {each.label: each for each in overlaps(joint_counts(reference=reference, prediction=prediction))}
    assert list(found) == [20, 21, 25]
    assert (found[20].reference_voxels, found[20].predicted_voxels, found[20].common_voxels) == (800, 600, 600)
    assert (found[25].reference_voxels, found[25].predicted_voxels, found[25].common_voxels) == (0, 2, 0)


@pytest.mark.parametrize(
    ("reference", "predicted", "common", "expected"),
    [(800, 600, 600, 6 / 7), (800, 0, 0, 0.0), (0, 800, 0, None), (0, 0, 0, None), (5, 5, 5, 1.0)],
)
def test_gt_present_dice_follows_its_definition(reference, predicted, common, expected):
    value = present_dice(reference_voxels=reference, predicted_voxels=predicted, common_voxels=common)
    assert value == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_bone_dice_ignores_names_and_knows_empty_maps(stack):
    empty = np.zeros_like(stack())
    assert bone_dice(joint_counts(reference=stack([1, 2]), prediction=stack([9, 8]))) == 1.0
    assert bone_dice(joint_counts(reference=stack(), prediction=empty)) == 0.0
    assert bone_dice(joint_counts(reference=empty, prediction=stack())) == 0.0
    assert bone_dice(joint_counts(reference=empty, prediction=empty)) is None
