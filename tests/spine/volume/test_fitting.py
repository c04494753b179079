"""Scans that can't be brought to a model's grid are refused before memory is spent on them."""

import numpy as np
import pytest

from spine.volume.fitting import UnfitScanError, require_fitting
from spine.volume.grid import Grid

MODEL_MM = (1.5, 1.5, 1.5)


def grid(shape, spacing, shear=0.0):
    affine = np.diag([*spacing, 1.0])
    affine[0, 1] = shear
    return Grid.of(shape, affine)


@pytest.mark.parametrize(
    ("scan", "told"),
    [
        (grid((50, 50, 50), (500.0, 1.0, 1.0)), "is 25000 mm long; expected at most 4000 mm"),
        (grid((50, 50, 1), (1.0, 1.0, 0.1)), "is only 0.1 mm thick; expected at least the model's voxel, 1.5 mm"),
        (grid((900, 900, 900), (2.0, 2.0, 2.0)), "voxels at the model's spacing; expected at most 2e+08"),
        (grid((50, 50, 50), (1.0, 1.0, 1.0), shear=0.2), "axes that are not perpendicular"),
    ],
    ids=["too long", "too thin", "too many voxels", "sheared"],
)
def test_a_scan_that_does_not_fit_is_refused_with_the_number(scan, told, tmp_path):
    with pytest.raises(UnfitScanError) as refused:
        require_fitting(scan, spacing_mm=MODEL_MM, path=tmp_path / "scan.nii.gz")
    assert told in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/scan.nii.gz: ")


def test_a_whole_spine_fits():
    require_fitting(grid((512, 512, 700), (0.8, 0.8, 1.25)), spacing_mm=MODEL_MM)
