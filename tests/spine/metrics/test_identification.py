"""Landmarks in real millimetres, the VerSe'19 rule at its edges, and the level shift."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from spine.metrics.identification import border_labels, called_labels, centroids_mm, level_shift, localisation_mm
from spine.metrics.overlap import joint_counts
from spine.volume.nifti import read_labels, to_canonical

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
_TURN = math.radians(25)
_OBLIQUE = np.array([[math.cos(_TURN), 0, math.sin(_TURN)], [0, 1, 0], [-math.sin(_TURN), 0, math.cos(_TURN)]])


def affine(directions, spacing_mm):
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(directions) * np.asarray(spacing_mm)
    matrix[:3, 3] = (-100.0, 40.0, 7.0)
    return matrix


@pytest.mark.parametrize(
    "directions",
    [np.eye(3), np.diag([-1, -1, 1]), np.eye(3)[[2, 0, 1]], _OBLIQUE, _OBLIQUE @ np.diag([-1, 1, 1])],
    ids=["RAS", "LPS", "permuted", "oblique", "oblique mirrored"],
)
@pytest.mark.parametrize(("axis", "voxels", "expected_mm"), [(0, 2, 1.4), (1, 1, 0.9), (2, 3, 15.0)])
def test_localisation_is_in_mm_on_anisotropic_grids_of_any_direction(
    stack, on_grid, directions, axis, voxels, expected_mm
):
    matrix = affine(directions, (0.7, 0.9, 5.0))
    reference = centroids_mm(on_grid(stack(), matrix))
    moved = centroids_mm(on_grid(np.roll(stack(), voxels, axis=axis), matrix))
    found = localisation_mm(reference=reference, prediction=moved)
    assert found == {label: pytest.approx(expected_mm, abs=1e-9) for label in (20, 21, 22, 23)}


@pytest.mark.parametrize("order", ["C", "F"])
def test_centroids_are_those_of_scipy_whatever_the_memory_order(on_grid, order):
    array = np.random.default_rng(5).integers(0, 26, (11, 7, 13), dtype=np.uint8)
    found = centroids_mm(on_grid(np.asarray(array, order=order), affine(_OBLIQUE, (0.7, 0.9, 5.0))))
    labels = np.arange(1, 26)
    indices = np.array(ndimage.center_of_mass(array > 0, array, labels))
    expected = indices @ affine(_OBLIQUE, (0.7, 0.9, 5.0))[:3, :3].T + (-100.0, 40.0, 7.0)
    assert np.allclose([found[label] for label in labels], expected, atol=1e-9)


@pytest.mark.parametrize("order", ["C", "F"])
def test_centroids_of_a_large_volume_are_placed_in_every_block_of_it(on_grid, order):
    array = np.zeros((210, 200, 210), dtype=np.uint8, order=order)  # 8.8 million voxels, three blocks
    places = {1: (3, 5, 7), 2: (105, 100, 105), 3: (208, 198, 207)}
    for label, (i, j, k) in places.items():
        array[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = label
    found = centroids_mm(on_grid(array, np.eye(4)))
    assert {label: tuple(centre) for label, centre in found.items()} == places


def test_centroids_of_a_real_mask_do_not_depend_on_its_orientation():
    path = SHARED / "l3_crop_pir" / "labels.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the shared real data is no part of a fresh clone")
    volume = read_labels(path)
    assert volume.grid.orientation == "PIR"
    native, canonical = centroids_mm(volume), centroids_mm(to_canonical(volume))
    assert native.keys() == canonical.keys() == {21, 22, 23}
    assert all(np.allclose(native[label], canonical[label], atol=1e-6) for label in native)
    assert native[21][2] > native[22][2] > native[23][2]  # superior to inferior


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ({20: 0.0}, 0.0),
        ({20: 20.0}, 20.0),
        ({20: 20.1}, None),
        ({21: 0.0}, None),
        ({}, None),
        ({20: 6.0, 21: 5.0}, None),
        ({20: 6.0, 21: 7.0}, 6.0),
        ({20: 6.0, 21: -6.0}, 6.0),
    ],
    ids=["same place", "20 mm", "too far", "other name", "nothing", "other nearer", "own nearer", "tie"],
)
def test_a_vertebra_is_identified_where_its_own_landmark_is_nearest_and_within_20_mm(predicted, expected):
    landmarks = {label: np.array([0.0, 0.0, z]) for label, z in predicted.items()}
    assert localisation_mm(reference={20: np.zeros(3)}, prediction=landmarks) == {20: expected}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_a_label_on_any_face_is_at_the_border(stack, axis, end):
    array = stack()
    assert border_labels(array) == frozenset()
    place = [8, 8, 25]
    place[axis] = end
    array[tuple(place)] = 7
    assert border_labels(array) == {7}


@pytest.mark.parametrize("shift", range(-3, 4))
def test_level_shift_is_the_offset_of_the_predicted_names(stack, shift):
    reference = stack([12, 13, 14, 15])
    prediction = stack([label + shift for label in (12, 13, 14, 15)])
    assert level_shift(joint_counts(reference=reference, prediction=prediction)) == shift


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ([24, 25], [25, 0], 1),
        ([1, 2], [0, 1], -1),
        ([5, 6], [5, 8], 0),
        ([5, 6], [3, 7], 1),
        ([5, 6], [6, 5], -1),
        ([5, 6], [0, 0], None),
        ([0, 0], [5, 6], None),
        ([5, 6], [15, 16], None),
    ],
    ids=["S1 end", "C1 end", "tie to 0", "tie to nearer", "tie to negative", "none", "no bone", "10 off"],
)
def test_level_shift_at_its_edges(stack, reference, prediction, expected):
    counts = joint_counts(reference=stack(reference), prediction=stack(prediction))
    assert level_shift(counts) == expected


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ({7: 60, 8: 40}, 7),
        ({8: 50, 7: 50}, 7),
        ({0: 80, 8: 15, 7: 5}, 8),
        ({0: 90, 8: 10}, 8),
        ({0: 91, 8: 9}, 0),
        ({0: 91, 7: 4, 8: 5}, 0),
        ({0: 100}, 0),
    ],
    ids=["most", "tie to the lowest", "little bone", "a tenth", "less", "less under two names", "none"],
)
def test_a_vertebra_is_called_by_most_of_the_bone_on_it_where_that_is_a_tenth_of_it(predicted, expected):
    counts = np.zeros((26, 26), dtype=np.int64)
    counts[0, 0], counts[0, 8] = 10_000, 500
    for label, voxels in predicted.items():
        counts[7, label] = voxels
    assert called_labels(counts) == {7: expected}
    covered = called_labels(counts.T)  # by predicted label: bone outside the vertebra is no vertebra
    assert covered.keys() == {label for label in (7, 8) if counts[:, label].any()}
    assert covered.get(7, 7) == 7
    assert covered[8] == (7 if predicted.get(8, 0) >= 0.1 * (500 + predicted.get(8, 0)) else 0)
