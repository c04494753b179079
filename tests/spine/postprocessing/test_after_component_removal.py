"""What is told of vertebrae is true of the map that is left when components were removed."""

import numpy as np
import pytest

from spine.postprocessing.choice import Postprocessing, apply
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import vote_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

ALL = tuple(range(1, 26))


def column(names, *, extra=()):
    """Blocks of 12 x 14 x 14 mm below each other, wholly in view, and extra blocks (name, corner, edge)."""
    array = np.zeros((60, 60, 20 * len(names) + 10), dtype=np.uint8)
    for place, name in enumerate(names):
        top = array.shape[2] - 5 - 20 * place
        array[24:36, 24:38, top - 14 : top] = name
    for name, (i, j, k), edge in extra:
        array[i : i + edge, j : j + edge, k : k + edge] = name
    return Volume(array=array, grid=Grid.of(array.shape, np.eye(4)))


def told_of(volume, postprocessing):
    found = find_instances(volume)
    return apply(volume, postprocessing=postprocessing, evidence=vote_evidence(found), instances=found)


def test_counts_and_places_are_those_of_what_is_left():
    volume = column([8, 9, 10, 11], extra=[(9, (26, 8, 75), 3)])
    done = told_of(volume, Postprocessing(keep_largest=ALL))
    assert (volume.array == 9).sum() > (done.labels.array == 9).sum()
    for named in done.vertebrae:
        where = np.argwhere(done.labels.array == named.label)
        assert named.voxels == len(where) == named.mm3
        assert named.centroid_mm == pytest.approx(tuple(where.mean(axis=0)))
        assert not named.touches_border


def test_a_doubled_level_is_none_any_more_once_one_of_both_is_removed():
    volume = column([8, 9, 10, 11, 11, 12])
    kept = told_of(volume, Postprocessing())
    assert ["repeated level" in named.flags for named in kept.vertebrae] == [False] * 3 + [True] * 2 + [False]
    array = volume.array.copy()
    lower = np.argwhere(array == 11)[:, 2].min()
    array[..., lower : lower + 3][array[..., lower : lower + 3] == 11] = 0
    done = told_of(Volume(array=array, grid=volume.grid), Postprocessing(keep_largest=(11,)))
    assert [named.label for named in done.vertebrae] == [8, 9, 10, 11, 11, 12]
    assert [named.voxels > 0 for named in done.vertebrae] == [True] * 4 + [False, True]
    assert not any("repeated level" in named.flags for named in done.vertebrae if named.voxels)


def test_crumbs_that_belong_to_no_vertebra_are_told_until_they_are_removed():
    volume = column([8, 9, 10, 11], extra=[(3, (2, 2, 2), 3), (3, (50, 50, 50), 2)])
    assert dict(told_of(volume, Postprocessing(decoding=DecodingSettings())).unassigned_voxels) == {3: 35}
    assert dict(told_of(volume, Postprocessing(keep_largest=(3,))).unassigned_voxels) == {3: 27}
    assert dict(told_of(column([8, 9]), Postprocessing()).unassigned_voxels) == {}
