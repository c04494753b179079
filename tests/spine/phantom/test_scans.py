from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from spine.errors import InvalidValueError
from spine.labels import IDS, MAX_LABEL
from spine.phantom import FieldOfView, PhantomScan, make_scan
from spine.volume.nifti import to_canonical


@pytest.fixture(scope="module")
def whole_spine() -> PhantomScan:
    return make_scan(seed=3, patient=0, first=1, last=25, spacing_mm=(2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def lumbar_labels() -> list[np.ndarray]:
    spacing_mm = (4.0, 4.0, 4.0)
    return [make_scan(seed=13, patient=patient, spacing_mm=spacing_mm).labels.array for patient in range(12)]


def centroids(scan: PhantomScan) -> dict[int, np.ndarray]:
    labels = scan.labels.array
    return {
        int(label): scan.labels.grid.millimetres(np.argwhere(labels == label).mean(axis=0))
        for label in np.unique(labels)
        if label
    }


def test_same_arguments_give_identical_arrays() -> None:
    first, second = (make_scan(seed=5, patient=2, scan=1) for _ in range(2))
    assert np.array_equal(first.image.array, second.image.array)
    assert np.array_equal(first.labels.array, second.labels.array)
    assert first.image.grid == second.image.grid == first.labels.grid
    assert (first.image.array.dtype, first.labels.array.dtype) == (np.int16, np.uint8)


@pytest.mark.parametrize("other", [{"seed": 6}, {"patient": 3}, {"scan": 2}])
def test_seed_patient_and_scan_each_change_the_picture(other: dict[str, int]) -> None:
    first = make_scan(**{"seed": 5, "patient": 2, "scan": 1})
    second = make_scan(**{"seed": 5, "patient": 2, "scan": 1, **other})
    assert first.image.array.shape != second.image.array.shape or (
        not np.array_equal(first.image.array, second.image.array)
    )


def test_whole_spine_holds_25_vertebrae_from_superior_to_inferior(whole_spine: PhantomScan) -> None:
    found = centroids(whole_spine)
    assert list(found) == list(range(1, MAX_LABEL + 1))
    assert all(found[upper][2] > found[lower][2] for upper, lower in pairwise(found))


def test_vertebrae_grow_from_neck_to_loin(whole_spine: PhantomScan) -> None:
    volumes = np.bincount(whole_spine.labels.array.ravel(), minlength=26)[1:] * whole_spine.labels.grid.voxel_mm3
    neck, chest, loin = volumes[2:7].mean(), volumes[7:19].mean(), volumes[19:24].mean()
    assert 5_000 < neck < chest < loin < 120_000
    assert np.corrcoef(np.arange(24), volumes[:24])[0, 1] > 0.9


@pytest.mark.parametrize("patient", range(3))
def test_each_vertebra_is_one_main_component(patient: int) -> None:
    labels = make_scan(seed=11, patient=patient, first=1, last=25).labels.array
    for label in np.unique(labels)[1:]:
        parts, _ = ndimage.label(labels == label, structure=np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        # Vertebrae at the border may be cut into body and processes.
        cut = bool((labels[..., 0] == label).any() or (labels[..., -1] == label).any())
        assert cut or sizes.max() >= 0.97 * sizes.sum(), label


def test_bone_is_brighter_than_soft_tissue_within_every_label(whole_spine: PhantomScan) -> None:
    image, labels = whole_spine.image.array, whole_spine.labels.array
    assert all(image[labels == label].mean() > 180 for label in range(1, MAX_LABEL + 1))
    assert image.min() < -900
    soft = image[(labels == 0) & (image > -200) & (image < 130)]
    assert -60 < np.median(soft) < 80


def test_bone_without_a_label_is_seen_beside_the_vertebrae(whole_spine: PhantomScan) -> None:
    # Ribs, skull, sacrum and hips anchor the names and are no vertebrae.
    image, labels = whole_spine.image.array, whole_spine.labels.array
    away = ndimage.distance_transform_edt(labels == 0, sampling=whole_spine.labels.grid.spacing_mm) > 6
    bone = (image > 350) & away
    heights = np.flatnonzero(bone.any(axis=(0, 1))) / bone.shape[2]
    assert bone.sum() > 1000
    assert heights.min() < 0.1
    assert heights.max() > 0.9


@pytest.mark.parametrize("patient", range(4))
def test_neck_and_loin_are_lordotic_and_the_chest_is_kyphotic(patient: int) -> None:
    scan = make_scan(seed=4, patient=patient, first=1, last=25)
    found = centroids(scan)

    def bulge(upper: str, middle: str, lower: str) -> float:
        top, centre, bottom = (found[IDS[name]] for name in (upper, middle, lower))
        share = (centre[2] - bottom[2]) / (top[2] - bottom[2])
        return float(centre[1] - (bottom[1] + share * (top[1] - bottom[1])))

    assert bulge("T12", "L3", "S1") > 0
    assert bulge("C2", "C5", "T1") > 0
    assert bulge("T1", "T7", "T12") < 0


def test_two_scans_of_a_patient_share_anatomy_but_not_the_field_of_view() -> None:
    first, second = (make_scan(seed=8, patient=4, scan=scan, spacing_mm=(2.0, 2.0, 2.0)) for scan in (0, 1))
    assert first.labels.array.shape != second.labels.array.shape
    volumes = [np.bincount(scan.labels.array.ravel(), minlength=26)[20:24] for scan in (first, second)]
    assert np.allclose(volumes[0], volumes[1], rtol=0.03)


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "LAS", "SRA"])
def test_storage_order_changes_nothing_but_the_order(orientation: str) -> None:
    spacing_mm = (3.0, 2.5, 4.0)
    plain = make_scan(seed=1, patient=1, spacing_mm=spacing_mm)
    stored = make_scan(seed=1, patient=1, spacing_mm=spacing_mm, orientation=orientation)
    assert stored.image.grid.orientation == orientation
    for one, other in ((plain.image, stored.image), (plain.labels, stored.labels)):
        canonical = to_canonical(other)
        assert canonical.grid.difference(one.grid) is None
        assert np.array_equal(canonical.array, one.array)
    assert np.allclose(plain.image.grid.spacing_mm, spacing_mm)


def test_borders_cut_vertebrae_at_varying_places() -> None:
    heights = set()
    for patient in range(6):
        labels = make_scan(seed=2, patient=patient, first=20, last=22, spacing_mm=(4.0, 4.0, 4.0)).labels.array
        assert labels[..., -1].any() or labels[..., 0].any()
        heights.add(labels.shape[2])
    assert len(heights) >= 4


def test_a_vertebra_does_not_sit_at_a_fixed_place(lumbar_labels: list[np.ndarray]) -> None:
    places = [np.argwhere(labels == IDS["L3"]).mean(axis=0) / labels.shape for labels in lumbar_labels]
    assert np.all(np.std(places, axis=0) > 0.02)
    assert np.ptp(np.array(places)[:, 2]) > 0.1


def test_a_position_atlas_cannot_name_vertebrae(lumbar_labels: list[np.ndarray]) -> None:
    shape = (32, 32, 64)
    resized = [
        ndimage.zoom(labels, np.array(shape) / labels.shape, order=0, grid_mode=True, mode="nearest")
        for labels in lumbar_labels
    ]
    votes = np.stack([(np.stack(resized[:9]) == label).sum(axis=0) for label in range(MAX_LABEL + 1)])
    atlas = np.where(votes[0] > 4, 0, votes[1:].argmax(axis=0) + 1)
    scores = [
        2 * np.sum((atlas == label) & (labels == label)) / (np.sum(atlas == label) + np.sum(labels == label))
        for labels in resized[9:]
        for label in np.unique(labels)[1:]
    ]
    assert np.mean(scores) < 0.45


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"patient": -1},
        {"scan": -1},
        {"first": 0},
        {"last": 26},
        {"first": 20, "last": 19},
        {"spacing_mm": (0.0, 3.0, 3.0)},
        {"spacing_mm": (3.0, 3.0)},
        {"orientation": "RAX"},
        {"orientation": "RLS"},
        {"orientation": "RA"},
    ],
)
def test_arguments_without_meaning_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidValueError):
        make_scan(**{"seed": 0, "patient": 0, **wrong})


def test_a_field_of_view_runs_downwards() -> None:
    with pytest.raises(InvalidValueError, match="first <= last"):
        FieldOfView(first=25, last=1)
