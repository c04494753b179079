"""Vertebrae are found whatever they are called, in order from superior to inferior, on any grid."""

import numpy as np
import pytest

from spine.errors import InvalidValueError
from spine.phantom import make_scan
from spine.postprocessing.instances import find_instances
from spine.volume.grid import Grid
from spine.volume.nifti import Volume


def found_labels(volume):
    return [item.label for item in find_instances(volume).items]


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), (3.0, 3.0, 3.0), (1.0, 1.0, 5.0), (3.0, 2.0, 8.0)])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR"])
def test_a_right_map_gives_one_vertebra_a_label_in_order(spacing_mm, orientation, present):
    labels = make_scan(seed=2, patient=3, first=5, last=13, spacing_mm=spacing_mm, orientation=orientation).labels
    assert found_labels(labels) == present(labels)


@pytest.mark.parametrize(("first", "last"), [(1, 25), (1, 2), (25, 25), (12, 12), (20, 25)])
def test_every_field_of_view_is_in_order(first, last, present):
    labels = make_scan(seed=2, patient=4, first=first, last=last).labels
    assert found_labels(labels) == present(labels)


def test_an_oblique_grid_gives_the_same_vertebrae(plant):
    labels = plant.spine(patient=1)
    turn = np.eye(4)
    angle = np.deg2rad(20)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = Volume(array=labels.array, grid=Grid.of(labels.array.shape, turn @ labels.grid.matrix))
    assert found_labels(oblique) == found_labels(labels)
    first = find_instances(oblique).items[0]
    straight = find_instances(labels).items[0]
    assert np.allclose(first.centroid_mm, turn[:3, :3] @ straight.centroid_mm)


def test_sizes_and_places_are_in_millimetres():
    array = np.zeros((20, 20, 60), dtype=np.uint8)
    array[5:15, 5:15, 30:40], array[5:15, 5:15, 10:20] = 20, 21
    items = find_instances(Volume(array=array, grid=Grid.of(array.shape, np.diag([2.0, 2.0, 1.5, 1.0])))).items
    assert [item.voxels for item in items] == [1000, 1000]
    assert items[0].mm3 == pytest.approx(6000)
    assert items[0].centroid_mm == pytest.approx((19.0, 19.0, 51.75))
    assert items[1].position_mm == pytest.approx(30.0)
    assert not any(item.at_border for item in items)


def test_what_reaches_a_face_is_at_the_border(plant, present):
    labels = plant.spine(patient=5)
    faces = [np.moveaxis(labels.array, axis, 0)[end] for axis in range(3) for end in (0, -1)]
    touching = {int(label) for face in faces for label in np.unique(face)} - {0}
    items = find_instances(labels).items
    assert {item.label for item in items if item.at_border} == touching


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", [12, 14])
def test_a_vertebra_under_two_names_is_one(plant, present, axis, name):
    fault = plant.split(plant.spine(patient=7), label=13, name=name, axis=axis)
    assert len(find_instances(fault.prediction).items) == len(present(fault.reference))


@pytest.mark.parametrize("label", [10, 13, 17, 20])
def test_one_name_over_two_vertebrae_gives_two_where_they_are(plant, label):
    fault = plant.renamed(plant.spine(patient=8), {label: label + 1})
    whole, merged = find_instances(fault.reference), find_instances(fault.prediction)
    assert len(merged.items) == len(whole.items)
    for true, found in zip(whole.items, merged.items, strict=True):
        assert np.linalg.norm(np.subtract(true.centroid_mm, found.centroid_mm)) < 3.0
        assert found.mm3 == pytest.approx(true.mm3, rel=0.15)


def test_noise_inside_a_vertebra_joins_it_and_a_stray_crumb_joins_nothing(plant):
    labels = plant.spine(patient=9)
    array = labels.array.copy()
    centre = np.argwhere(array == 12)[500]
    array[tuple(centre)] = 24
    array[2, 2, 40] = 2
    found = find_instances(Volume(array=array, grid=labels.grid))
    owner = found.owners[found.names == 24]
    assert [found.items[number].label for number in owner] == [12]
    assert list(found.owners[found.names == 2]) == [-1]
    assert not {2, 24} & {item.label for item in found.items}


def test_all_bone_is_listed_once_and_memory_order_changes_nothing(plant):
    labels = plant.spine(patient=2)
    column_major = Volume(array=np.asfortranarray(labels.array), grid=labels.grid)
    first, second = find_instances(labels), find_instances(column_major)
    assert first.items == second.items
    indices = first.indices(np.arange(len(first.voxels)))
    assert len(indices) == np.count_nonzero(labels.array)
    assert np.array_equal(labels.array[tuple(indices.T)], first.names)


def test_an_empty_map_has_no_vertebrae():
    empty = np.zeros((5, 6, 7), dtype=np.uint8)
    assert find_instances(Volume(array=empty, grid=Grid.of(empty.shape, np.eye(4)))).items == ()


@pytest.mark.parametrize(("value", "dtype"), [(26, np.uint8), (3, np.int16)])
def test_what_is_no_label_map_is_refused(value, dtype):
    array = np.full((3, 3, 3), value, dtype=dtype)
    with pytest.raises(InvalidValueError):
        find_instances(Volume(array=array, grid=Grid.of(array.shape, np.eye(4))))
