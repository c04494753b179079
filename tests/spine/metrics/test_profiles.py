"""Profiles: counts along each axis, and the centroid, border and box that follow, against scipy."""

import numpy as np
import pytest
from scipy import ndimage

from spine.metrics.overlap import compare
from spine.metrics.profiles import Profiles


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(11, 7, 13), (1, 5, 1), (30, 200, 1000)])
def test_profiles_count_every_label_along_every_axis(shape, order):
    random = np.random.default_rng(7)
    array = np.asarray(np.where(random.random(shape) < 0.1, random.integers(0, 26, shape), 0), np.uint8, order=order)
    profiles = Profiles.of(array)
    for axis, counts in enumerate(profiles.axes):
        others = tuple(other for other in range(3) if other != axis)
        assert not counts[0].any()
        for label in (1, 13, 25):
            assert np.array_equal(counts[label], (array == label).sum(axis=others))


def test_two_maps_counted_together_have_the_profiles_that_each_has_alone():
    random = np.random.default_rng(8)
    pair = [np.where(random.random((9, 8, 7)) < 0.3, random.integers(0, 26, (9, 8, 7)), 0) for _ in range(2)]
    reference, prediction = (array.astype(np.uint8) for array in pair)
    compared = compare(reference=reference, prediction=prediction)
    for found, alone in ((compared.reference, reference), (compared.prediction, prediction)):
        assert all(np.array_equal(one, other) for one, other in zip(found.axes, Profiles.of(alone).axes, strict=True))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_box_holds_all_labels_and_nothing_more(stack, order):
    array = np.asarray(stack([3, 4]), order=order)
    array[0, 5, 7] = 9
    assert Profiles.of(array).box() == ndimage.find_objects((array > 0).astype(int))[0]
    assert Profiles.of(np.zeros_like(array)).box() is None
