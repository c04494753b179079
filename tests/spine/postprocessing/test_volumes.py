"""A volume that no whole vertebra can have is flagged, in small and large patients, and one that is cut is not."""

import numpy as np
import pytest

from spine.labels import IDS, MAX_LABEL
from spine.phantom import make_scan
from spine.postprocessing.instances import find_instances
from spine.postprocessing.volumes import LEVEL_SHARES, NEIGHBOUR_SHARES, VOLUME_MM3, implausible
from spine.volume.grid import Grid
from spine.volume.nifti import Volume


def odd(volume):
    found = find_instances(volume)
    names = [item.label for item in found.items]
    return {name for name, is_odd in zip(names, implausible(found, names=names), strict=True) if is_odd}


def eroded(volume, *, label, share):
    """Of one vertebra only the part nearest to its middle is left."""
    inside = np.argwhere(volume.array == label)
    far = np.argsort(np.linalg.norm(inside - inside.mean(axis=0), axis=1))[int(share * len(inside)) :]
    array = volume.array.copy()
    array[tuple(inside[far].T)] = 0
    return Volume(array=array, grid=volume.grid)


def boxes(shares):
    """A column of blocks, from T5 on, each with a share of its level's median volume, all wholly in view."""
    array = np.zeros((60, 60, 40 * len(shares)), dtype=np.uint8)
    for place, share in enumerate(shares):
        name, top = 12 + place, array.shape[2] - 40 * place
        side = round((VOLUME_MM3[name] * share / 20) ** 0.5 / 1.0)
        array[2 : 2 + side, 2 : 2 + side, top - 30 : top - 10] = name
    return Volume(array=array, grid=Grid.of(array.shape, np.eye(4)))


@pytest.mark.parametrize("number", range(12))
def test_the_vertebrae_of_a_right_map_are_plausible(number):
    first = 1 + 2 * number
    labels = make_scan(seed=9, patient=number, first=first, last=min(25, first + 6), spacing_mm=(2.0, 2.0, 3.0)).labels
    assert odd(labels) == set()


@pytest.mark.parametrize("label", [11, 16, 20])
def test_a_vertebra_of_which_half_was_missed_is_not_plausible(plant, label):
    labels = plant.spine(patient=20)
    assert odd(eroded(labels, label=label, share=0.45)) == {label}
    assert odd(eroded(labels, label=label, share=0.85)) == set()


@pytest.mark.parametrize(("share", "is_odd"), [(0.45, True), (0.7, False), (1.4, False), (1.8, True)])
@pytest.mark.parametrize("size", [0.3, 1.0])
def test_a_small_patient_is_compared_with_himself(size, share, is_odd):
    shares = [size] * 5
    shares[2] *= share
    assert odd(boxes(shares)) == ({14} if is_odd else set())


def test_one_vertebra_by_itself_is_held_to_the_range_of_its_level():
    assert odd(boxes([1.0])) == set()
    assert odd(boxes([0.5])) == set()
    assert odd(boxes([0.1])) == {12}


def test_what_the_border_cuts_is_neither_judged_nor_compared_with(plant):
    labels = plant.spine(patient=20)
    middle = int(np.argwhere(labels.array == 14)[:, 2].mean())
    array = labels.array[..., middle:]
    matrix = labels.grid.matrix.copy()
    matrix[:3, 3] += middle * matrix[:3, 2]
    assert odd(Volume(array=array, grid=Grid.of(array.shape, matrix))) == set()


def test_how_much_of_the_sacrum_belongs_to_its_first_vertebra_is_left_open():
    labels = make_scan(seed=77, patient=4, first=19, last=25, spacing_mm=(3.0,) * 3).labels
    assert IDS["S1"] in np.unique(labels.array)
    assert odd(labels) == set()


def test_the_table_has_a_volume_a_level_and_limits_around_it():
    assert len(VOLUME_MM3) == MAX_LABEL + 1
    assert (VOLUME_MM3[1:] > 10_000).all() and (VOLUME_MM3 < 70_000).all()
    assert all(low < 1 < high for low, high in (LEVEL_SHARES, NEIGHBOUR_SHARES))
