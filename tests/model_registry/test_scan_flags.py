"""A scan unlike those of the training is flagged, with what was found and what was expected; one like them is not."""

from pathlib import Path

import numpy as np
import pytest

from model_registry.scan_flags import OUTSIDE_HU, OUTSIDE_SPACING, scan_flags
from model_registry.training_distribution import TrainingDistribution
from spine.phantom import make_scan
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, read_image, read_labels

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
TRAINED = TrainingDistribution(
    scans=871, least_spacing_mm=(1.5, 1.5, 1.5), largest_spacing_mm=(1.5, 1.5, 3.0), bone_hu=(-83.0, 276.0, 1442.0)
)


def flagged(image, labels, *, grid=None):
    volume = Volume(array=image, grid=grid or labels.grid)
    return scan_flags(volume, Volume(array=labels.array, grid=volume.grid), training_distribution=TRAINED)


@pytest.fixture(scope="module")
def scan():
    return make_scan(seed=5, patient=1, first=10, last=20, spacing_mm=(3.0, 3.0, 3.0))


FAULTS = {
    "stored without the offset of 1024": lambda hu: hu + 1024,
    "the same, beyond a padded field of view": lambda hu: np.where(np.indices(hu.shape)[0] < 8, -976, hu + 1024),
    "rescaled twice": lambda hu: hu - 1024,
    "8 bit, soft tissue window": lambda hu: np.clip((hu + 160) / 400 * 255, 0, 255).round(),
    "8 bit, bone window": lambda hu: np.clip((hu + 450) / 1500 * 255, 0, 255).round(),
    "8 bit, signed": lambda hu: np.clip((hu + 1024) / 4095 * 255, 0, 255).round() - 128,
    "scaled to 0-1": lambda hu: np.clip((hu + 1024) / 4095, 0, 1),
    "standardised": lambda hu: (hu - hu.mean()) / hu.std(),
    "inverted": lambda hu: -hu,
    "clipped to soft tissue": lambda hu: np.clip(hu, -200, 200),
    "as dark and bright as an MR": lambda hu: np.select([hu < -500, hu < -30, hu < 150], [5, 900, 400], 200),
    "in tenths": lambda hu: hu * 10,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_values_that_are_no_hu_are_flagged(scan, fault):
    image = FAULTS[fault](scan.image.array.astype(np.float32))
    assert OUTSIDE_HU in flagged(image, scan.labels)


@pytest.mark.parametrize("number", range(6))
def test_a_ct_is_not_flagged_for_its_values(number):
    scan = make_scan(seed=5, patient=number, first=1 + 4 * number, last=min(25, 5 + 4 * number))
    assert OUTSIDE_HU not in flagged(scan.image.array, scan.labels)
    clipped = np.clip(scan.image.array, -1000, 1000)
    assert OUTSIDE_HU not in flagged(clipped, scan.labels)


def test_values_are_judged_where_nothing_was_labelled(scan):
    nothing = Volume(array=np.zeros_like(scan.labels.array), grid=scan.labels.grid)
    assert OUTSIDE_HU not in flagged(scan.image.array, nothing)
    remark = flagged(scan.image.array.astype(np.float32) + 1024, nothing)[OUTSIDE_HU]
    assert "air and fat are missing" in remark


@pytest.mark.skipif(not REAL.is_dir(), reason="the real scans in ../shared/data are not there")
@pytest.mark.parametrize("name", ["abdomen_3mm", "l3_crop_pir"])
def test_a_real_ct_is_flagged_where_its_values_are_planted_wrong_and_only_there(name):
    image = read_image(REAL / name / "ct.nii.gz")
    labels = read_labels(REAL / name / "labels.nii.gz")
    assert OUTSIDE_HU not in flagged(image.array, labels, grid=image.grid)
    for fault in FAULTS.values():
        assert OUTSIDE_HU in flagged(fault(image.array.astype(np.float32)), labels, grid=image.grid)


@pytest.mark.parametrize(
    ("spacing_mm", "axis"),
    [
        ((1.5, 1.5, 1.5), None),
        ((0.75, 0.8, 1.0), None),
        ((1.5, 1.5, 3.75), None),
        ((1.5, 1.5, 5.0), "superior-inferior"),
        ((0.5, 1.5, 3.0), "left-right"),
        ((1.5, 2.0, 3.0), "anterior-posterior"),
        ((4.0, 1.5, 1.5), "left-right"),
    ],
)
def test_a_voxel_edge_is_held_to_the_training_s_along_the_same_axis(scan, spacing_mm, axis):
    labels = np.zeros((40, 41, 42), dtype=np.uint8)
    image = scan.image.array[:40, :41, :42]
    grid = Grid.of(labels.shape, np.diag([*spacing_mm, 1.0]))
    remark = flagged(image, Volume(array=labels, grid=grid)).get(OUTSIDE_SPACING)
    assert (axis is None and remark is None) or (remark and axis in remark)


def test_spacing_is_compared_along_the_axes_of_the_body_whatever_the_order_of_the_file(scan):
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.5, -3.0, 1.5, 1.0  # stored as A, I, R
    image = scan.image.array[:20, :21, :22]
    labels = Volume(array=np.zeros(image.shape, dtype=np.uint8), grid=Grid.of(image.shape, affine))
    assert OUTSIDE_SPACING not in flagged(image, labels)
    affine[0, 2], affine[2, 1] = 3.0, -1.5
    labels = Volume(array=labels.array, grid=Grid.of(image.shape, affine))
    assert "left-right" in flagged(image, labels)[OUTSIDE_SPACING]
