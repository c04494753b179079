"""Scans that can't be brought to a model's grid are refused before memory is spent on them."""

import re
import struct

import nibabel
import numpy as np
import pytest

from spine.volume.grid import Grid
from spine.volume.input_limits import UnfitScanError, read_scan, require_fitting

MODEL_MM = (1.5, 1.5, 1.5)


def grid(shape, spacing, shear=0.0):
    affine = np.diag([*spacing, 1.0])
    affine[0, 1] = shear
    return Grid.of(shape, affine)


@pytest.mark.parametrize(
    ("scan", "told"),
    [
        (grid((50, 50, 50), (500.0, 1.0, 1.0)), "is 25000 mm long; expected at most 4000 mm"),
        (
            grid((50, 50, 1), (1.0, 1.0, 0.1)),
            "is only 0.1 mm thick; expected more than half of the model's voxel, which is 1.5 mm",
        ),
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


def test_the_thin_axis_is_told_with_the_model_s_voxel_along_it():
    with pytest.raises(UnfitScanError, match="only 0.7 mm thick; expected more than half .* which is 1.5 mm"):
        require_fitting(grid((50, 1, 50), (1.0, 0.7, 1.0)), spacing_mm=(1.0, 1.5, 3.0))
    require_fitting(grid((50, 1, 50), (1.0, 0.8, 1.0)), spacing_mm=(1.0, 1.5, 3.0))


@pytest.mark.parametrize(
    ("sform", "qform", "width_mm", "value", "told"),
    [
        (0, 0, 2.0, 0, "has no orientation in its header"),
        (1, 1, 2.5, 0, "voxels of 2 × 2 × 2 mm by its sform and of 2.5 × 2 × 2 mm by its qform"),
        (1, 0, 2.0, 2e6, "has voxels of 2e+06 HU; expected at most 1e+06 either way"),
        (1, 0, 2.0, -2e6, "has voxels of 2e+06 HU"),
    ],
)
def test_a_file_whose_place_or_values_are_in_doubt_is_not_labelled(tmp_path, sform, qform, width_mm, value, told):
    path = written(tmp_path, sform=sform, qform=qform, width_mm=width_mm, value=value)
    with pytest.raises(UnfitScanError, match=re.escape(told)) as refused:
        read_scan(path)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(("sform", "qform", "width_mm"), [(1, 0, 2.5), (0, 1, 2.0), (1, 1, 2.01)])
def test_one_sound_orientation_is_enough(tmp_path, sform, qform, width_mm):
    path = written(tmp_path, sform=sform, qform=qform, width_mm=width_mm, value=-1000)
    assert (read_scan(path).array == -1000).all()


def written(folder, *, sform, qform, width_mm, value):
    image = nibabel.Nifti1Image(np.full((4, 4, 4), value, np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    content = bytearray(image.to_bytes())
    struct.pack_into("<hh", content, 252, qform, sform)
    struct.pack_into("<f", content, 80, width_mm)
    path = folder / "scan.nii"
    path.write_bytes(content)
    return path
