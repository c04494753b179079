"""What a reader must look at is flagged, and what is doubtful for other reasons than its name is not renamed."""

import numpy as np
import pytest

from spine.phantom import make_scan
from spine.postprocessing.decoding import decode
from spine.postprocessing.flags import FLAGS
from spine.postprocessing.naming import DecodingSettings
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

SETTINGS = DecodingSettings()


def decoded(array, grid):
    return decode(Volume(array=array, grid=grid), settings=SETTINGS)


def by_name(result):
    return {vertebra.label: vertebra.flags for vertebra in result.vertebrae}


@pytest.mark.parametrize(
    ("patient", "first", "last", "corner", "name"),
    [(63, 17, 25, (23, 36, 84), 13), (119, 16, 21, (17, 3, 39), 8)],
)
def test_a_blob_far_beside_the_spine_is_never_renamed(patient, first, last, corner, name):
    labels = make_scan(seed=500 + patient, patient=patient, first=first, last=last, spacing_mm=(3.0,) * 3).labels
    array = labels.array.copy()
    i, j, k = corner
    block = array[i : i + 8, j : j + 8, k : k + 8]
    block[block == 0] = name
    result = decoded(array, labels.grid)
    assert np.array_equal(result.labels.array, array)
    assert by_name(result)[name][:1] == ("off the spine",)
    others = [flags for label, flags in by_name(result).items() if label != name]
    assert not any({"off the spine", "repeated level", "low margin", "renamed"} & set(flags) for flags in others)


def test_what_lies_off_the_spine_has_no_say_in_the_names_of_the_others(plant):
    fault = plant.renamed(plant.spine(patient=20), {14: 15})
    middle = np.argwhere(fault.reference.array == 14).mean(axis=0).astype(int)
    wide = np.pad(fault.prediction.array, ((30, 0), (0, 0), (0, 0)))
    wide[6:14, middle[1] - 4 : middle[1] + 4, middle[2] - 4 : middle[2] + 4] = 14
    shifted = fault.prediction.grid.matrix.copy()
    shifted[:3, 3] -= 30 * shifted[:3, 0]
    result = decoded(wide, Grid.of(wide.shape, shifted))
    assert (result.labels.array[30:][fault.reference.array == 14] == 14).mean() > 0.95
    assert (result.labels.array[6:14, middle[1], middle[2]] == 14).all()
    assert sum("off the spine" in vertebra.flags for vertebra in result.vertebrae) == 1


@pytest.mark.parametrize("number", range(12))
def test_nothing_of_a_right_map_is_off_the_spine_or_after_a_wide_gap(number):
    first = 1 + 2 * number
    labels = make_scan(
        seed=8, patient=60 + number, first=first, last=min(25, first + number % 7), spacing_mm=(3.0,) * 3
    ).labels
    flags = {flag for vertebra in decode(labels, settings=SETTINGS).vertebrae for flag in vertebra.flags}
    assert flags <= {"cut at the border"}


def test_a_vertebra_at_the_border_that_its_neighbour_swallows_leaves_a_skipped_level():
    labels = make_scan(seed=593, patient=93, first=14, last=24, spacing_mm=(3.0,) * 3).labels
    array = labels.array.copy()
    inside = np.argwhere(array == 14)
    array[tuple(inside[inside[:, 2] > np.median(inside[:, 2])].T)] = 15
    flags = by_name(decoded(array, labels.grid))
    assert 14 not in flags
    assert "skipped level" in flags[15]


def test_two_pieces_at_one_height_keep_the_order_of_their_names():
    array = np.zeros((20, 40, 150), dtype=np.uint8)
    for place, name in enumerate((6, 8, 9, 10, 11, 12)):
        top = 140 - 20 * place
        array[4:16, 20:34, top - 14 : top] = name
    array[4:16, 2:16, 130:138] = 7  # behind the body called C6, its middle a voxel higher
    result = decoded(array, Grid.of(array.shape, np.eye(4)))
    assert [vertebra.label for vertebra in result.vertebrae] == [6, 7, 8, 9, 10, 11, 12]
    assert np.array_equal(result.labels.array, array)


def test_room_for_a_vertebra_between_names_that_follow_each_other_is_a_wide_gap(plant):
    labels = make_scan(seed=31, patient=20, first=8, last=25, spacing_mm=(3.0,) * 3).labels
    # Of six lumbar vertebrae the lowest, for which there is no name, was left out.
    array = plant.renamed(labels, {24: 0, **{label: label + 1 for label in range(8, 24)}}).prediction.array
    result = decoded(array, labels.grid)
    assert np.array_equal(result.labels.array, array)
    assert [label for label, flags in by_name(result).items() if "wide gap" in flags] == [25]


def test_flags_come_from_the_gravest_to_the_mildest(plant):
    fault = plant.split(plant.renamed(plant.spine(patient=16), {12: 13}).prediction, label=15, name=16, axis=2)
    result = decode(fault.prediction, settings=SETTINGS)
    places = [[FLAGS.index(flag) for flag in vertebra.flags] for vertebra in result.vertebrae]
    assert any(len(each) for each in places)
    assert all(each == sorted(each) for each in places)
