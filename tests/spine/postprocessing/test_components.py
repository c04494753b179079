"""The largest component is nnU-Net's, label by label and over all bone, ties and diagonal contacts included."""

import numpy as np
import pytest
from nnunetv2.postprocessing.remove_connected_components import remove_all_but_largest_component_from_segmentation

from spine.metrics.overlap import joint_counts
from spine.postprocessing.components import counts_with_and_without, keep_largest, keep_largest_bone

LABELS = list(range(1, 26))


def noise(seed, *, shape=(14, 15, 16), labels=4, bone=0.3):
    random = np.random.default_rng(seed)
    names = random.integers(1, labels + 1, shape)
    return np.where(random.random(shape) < bone, names, 0).astype(np.uint8)


@pytest.mark.parametrize("bone", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_each_label_keeps_what_nnunet_keeps(seed, bone):
    array = noise(seed, bone=bone)
    expected = array
    for label in (1, 3):
        expected = remove_all_but_largest_component_from_segmentation(expected, label)
    assert np.array_equal(keep_largest(array, (1, 3)), expected)


@pytest.mark.parametrize("seed", range(4))
def test_all_bone_keeps_what_nnunet_keeps(seed):
    array = noise(seed, bone=0.05)
    expected = remove_all_but_largest_component_from_segmentation(array, LABELS)
    assert np.array_equal(keep_largest_bone(array), expected)


def test_equal_components_all_stay_and_corners_connect():
    array = np.zeros((9, 9, 9), dtype=np.uint8)
    array[1, 1, 1] = array[2, 2, 2] = 5
    array[6, 6, 6] = array[7, 7, 7] = 5
    assert np.array_equal(keep_largest(array, (5,)), array)
    array[4, 4, 8] = 5
    assert keep_largest(array, (5,)).sum() == 20


def test_memory_order_changes_nothing_and_the_input_stays():
    array = noise(9)
    column_major = np.asfortranarray(array)
    kept = keep_largest(column_major, LABELS)
    assert np.array_equal(kept, keep_largest(array, LABELS))
    assert kept.flags.f_contiguous
    assert np.array_equal(column_major, array)


def test_an_empty_map_stays_empty():
    empty = np.zeros((4, 5, 6), dtype=np.uint8)
    assert not keep_largest(empty, LABELS).any()
    assert not keep_largest_bone(empty).any()


def test_counts_are_those_of_the_map_as_it_is_and_with_the_largest_alone():
    reference, prediction = noise(1), noise(2)
    counts = counts_with_and_without(reference=reference, prediction=prediction)
    for array, found in ((prediction, counts.plain), (keep_largest(prediction, LABELS), counts.kept)):
        joint = joint_counts(reference=reference, prediction=array)
        for label in LABELS:
            expected = (reference == label).sum(), (array == label).sum(), joint[label, label]
            assert tuple(found[label]) == expected
