"""Surface distances: the library's own from end to end, right in mm on any grid, defined where a map is empty."""

import math
from pathlib import Path

import numpy as np
import pytest
import surface_distance

from spine.errors import InvalidValueError
from spine.metrics import surface_elements
from spine.metrics.overlap import compare
from spine.metrics.scans import score_scan
from spine.metrics.surfaces import ROUNDING_MM, SurfaceScores, surface_scores
from spine.volume.nifti import Volume, read_labels, to_canonical

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
_TURN = math.radians(25)
_OBLIQUE = np.array(
    [[math.cos(_TURN), -math.sin(_TURN), 0.0], [math.sin(_TURN), math.cos(_TURN), 0.0], [0.0, 0.0, 1.0]]
)


def affine(directions=None, spacing_mm=(1.5, 1.5, 1.5)):
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if directions is None else directions) @ np.diag(spacing_mm)
    matrix[:3, 3] = (-100.0, 40.0, 7.0)
    return matrix


@pytest.fixture
def measure(on_grid):
    def build(reference, prediction, matrix=None):
        volumes = {"reference": on_grid(reference, matrix), "prediction": on_grid(prediction, matrix)}
        return surface_scores(case="case_0001", compared=compare(reference=reference, prediction=prediction), **volumes)

    return build


def by_the_library(reference, prediction, spacing_mm):
    """Score every label of ``reference`` that ``prediction`` holds with nothing but the library."""
    scores = {}
    for label in sorted((set(np.unique(reference)) & set(np.unique(prediction))) - {0}):
        found = surface_distance.compute_surface_distances(reference == label, prediction == label, spacing_mm)
        nsd = [
            surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm + ROUNDING_MM)
            for tolerance_mm in (1.5, 3.0)
        ]
        scores[int(label)] = (*nsd, surface_distance.compute_robust_hausdorff(found, 95))
    return scores


def found_in_both(scores):
    return {
        label: (score.nsd_1_5mm, score.nsd_3mm, score.hd95_mm)
        for label, score in scores.items()
        if score.hd95_mm is not None
    }


def assert_equal(scores, expected):
    found = found_in_both(scores)
    assert found.keys() == expected.keys()
    for label, values in expected.items():
        assert found[label] == pytest.approx(values, abs=1e-9), label


def noise(seed, *, density=0.5, labels=4, shape=(9, 8, 11)):
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) < density, random.integers(1, labels + 1, shape), 0).astype(np.uint8)


def touching():
    """Four boxes that share faces, edges and one corner, and fill the volume from face to face."""
    array = np.zeros((12, 10, 14), dtype=np.uint8)
    array[:6, :, :7], array[6:, :, :7], array[:6, :5, 7:], array[6:, 5:, 7:] = 1, 2, 3, 25
    return array


def tiny():
    array = np.zeros((7, 6, 9), dtype=np.uint8)
    array[3, 3, 3], array[0, 0, 0], array[6, 5, 7:9] = 5, 6, 7
    return array


PAIRS = {
    "noise": (noise(1), noise(2)),
    "sparse noise": (noise(3, density=0.05), noise(4, density=0.05)),
    "touching": (touching(), np.roll(touching(), (2, 1, 3), axis=(0, 1, 2))),
    "tiny": (tiny(), np.roll(tiny(), (1, 2, -1), axis=(0, 1, 2))),
    "one slice": (noise(5, shape=(9, 8, 1)), noise(6, shape=(9, 8, 1))),
    "whole volume": (np.full((4, 5, 6), 9, dtype=np.uint8), np.full((4, 5, 6), 9, dtype=np.uint8)),
}


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), (0.7, 0.9, 5.0), (0.8, 0.8, 1.25)], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_scores_are_those_of_the_library(measure, name, spacing_mm):
    reference, prediction = PAIRS[name]
    assert_equal(
        measure(reference, prediction, affine(spacing_mm=spacing_mm)), by_the_library(reference, prediction, spacing_mm)
    )


@pytest.mark.parametrize("folder", ["l3_crop_pir", "abdomen_3mm"])
def test_scores_of_real_labels_are_those_of_the_library(measure, folder):
    path = SHARED / folder / "labels.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the shared real data is no part of a fresh clone")
    volume = read_labels(path)
    prediction = np.roll(volume.array, (1, -1, 2), axis=(0, 1, 2))
    prediction[::3, ::2, ::5] = 0
    expected = by_the_library(volume.array, prediction, volume.grid.spacing_mm)
    assert len(expected) >= 3
    assert_equal(measure(volume.array, prediction, volume.grid.matrix), expected)


def test_surfaces_that_span_several_slabs_are_found_whole(measure, monkeypatch):
    expected = by_the_library(*PAIRS["noise"], (0.7, 0.9, 5.0))
    monkeypatch.setattr(surface_elements, "_SLAB_VOXELS", 200)  # two or three planes
    assert_equal(measure(*PAIRS["noise"], affine(spacing_mm=(0.7, 0.9, 5.0))), expected)


@pytest.mark.parametrize("orders", ["CC", "FF", "CF", "FC"])
def test_memory_order_does_not_matter(measure, orders):
    matrix = affine(spacing_mm=(0.7, 0.9, 5.0))
    pair = [np.asarray(array, order=order) for array, order in zip(PAIRS["noise"], orders, strict=True)]
    assert measure(*pair, matrix) == measure(*PAIRS["noise"], matrix)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_grid_gives_the_same_scores(measure, axis):
    signs = np.ones(3)
    signs[axis] = -1
    mirrored = [np.flip(array, axis) for array in PAIRS["noise"]]
    expected = by_the_library(*PAIRS["noise"], (0.7, 0.9, 5.0))
    assert_equal(measure(*mirrored, affine(np.diag(signs), (0.7, 0.9, 5.0))), expected)


def test_real_labels_score_the_same_in_any_orientation():
    path = SHARED / "l3_crop_pir" / "labels.nii.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the shared real data is no part of a fresh clone")
    volume = read_labels(path)
    moved = Volume(array=np.roll(volume.array, 2, axis=1), grid=volume.grid)
    native = score_scan(case="c", patient=None, reference=volume, prediction=moved)
    canonical = score_scan(case="c", patient=None, reference=to_canonical(volume), prediction=to_canonical(moved))
    for one, other in zip(native.labels, canonical.labels, strict=True):
        assert (one.nsd_1_5mm, one.nsd_3mm, one.hd95_mm) == pytest.approx(
            (other.nsd_1_5mm, other.nsd_3mm, other.hd95_mm), abs=1e-9
        )


@pytest.mark.parametrize("directions", [np.eye(3), _OBLIQUE, np.diag([-1.0, 1.0, 1.0])], ids=["axial", "oblique", "L"])
@pytest.mark.parametrize(
    ("axis", "voxels", "expected_mm"), [(0, 1, 0.7), (0, 3, 2.1), (1, 2, 1.8), (2, 1, 5.0), (2, -1, 5.0)]
)
def test_boxes_that_are_moved_lie_that_many_millimetres_apart(stack, measure, directions, axis, voxels, expected_mm):
    scores = measure(stack(), np.roll(stack(), voxels, axis=axis), affine(directions, (0.7, 0.9, 5.0)))
    assert scores.keys() == {20, 21, 22, 23}
    for score in scores.values():
        assert score.hd95_mm == pytest.approx(expected_mm, abs=1e-9)
        assert (score.nsd_1_5mm == 1.0) is (expected_mm <= 1.5)
        assert (score.nsd_3mm == 1.0) is (expected_mm <= 3.0)


def test_single_voxels_four_millimetres_apart_have_half_their_surface_within_three(measure):
    reference, prediction = np.zeros((2, 12, 5, 5), dtype=np.uint8)
    reference[2, 2, 2] = prediction[6, 2, 2] = 7
    assert measure(reference, prediction, np.eye(4)) == {7: SurfaceScores(nsd_1_5mm=0.0, nsd_3mm=0.5, hd95_mm=4.0)}


@pytest.mark.parametrize("directions", [np.eye(3), _OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize(("edge_mm", "voxels"), [(1.5, 2), (0.6, 5), (0.3, 10), (1.0, 3)])
def test_a_distance_of_exactly_the_tolerance_is_within_it_whatever_the_rounding(measure, directions, edge_mm, voxels):
    reference = np.zeros((40, 40, 40), dtype=np.uint8)
    reference[10:25, 10:25, 10:25] = 20
    for axis in range(3):
        matrix = affine(directions, (edge_mm,) * 3).astype(np.float32).astype(np.float64)  # as NIfTI keeps it
        score = measure(reference, np.roll(reference, voxels, axis=axis), matrix)[20]
        assert (score.nsd_3mm, score.hd95_mm) == (1.0, pytest.approx(3.0, abs=1e-6))
        assert score.nsd_1_5mm < 1.0


def test_a_label_in_one_map_alone_is_missed_or_not_scored(stack, measure):
    scores = measure(stack([20, 21]), stack([20, 0, 22]))
    assert scores[20] == SurfaceScores(nsd_1_5mm=1.0, nsd_3mm=1.0, hd95_mm=0.0)
    assert scores[21] == SurfaceScores(nsd_1_5mm=0.0, nsd_3mm=0.0, hd95_mm=None)
    assert scores.keys() == {20, 21}


def test_empty_maps_have_defined_scores(stack, measure):
    empty = np.zeros_like(stack())
    assert measure(stack([20, 21]), empty) == dict.fromkeys((20, 21), SurfaceScores(0.0, 0.0, None))
    assert measure(empty, stack()) == {}
    assert measure(empty, empty) == {}


def test_a_sheared_grid_is_refused_and_the_case_named(stack, measure, on_grid):
    sheared = np.diag([1.5, 1.5, 1.5, 1.0])
    sheared[0, 2] = 0.2
    with pytest.raises(InvalidValueError, match="case_0001"):
        measure(stack(), stack(), sheared)
    volume = on_grid(stack(), sheared)
    scan = score_scan(case="c", patient=None, reference=volume, prediction=volume, surfaces=False)
    assert scan.mean_dice == 1.0
