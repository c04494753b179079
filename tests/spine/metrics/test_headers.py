"""Masks as other tools write them: what is the same voxels is scored, what isn't is refused by its header."""

import struct
import tracemalloc

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from spine.errors import GridMismatchError, InvalidValueError
from spine.metrics import headers
from spine.metrics.folders import evaluate_folders

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [12, -5, 176], degrees=True).as_matrix() * (0.79, 0.77, 2.4)
OBLIQUE[:3, 3] = (210.123, -1204.567, 88.901)


@pytest.fixture
def folders(tmp_path):
    """Two empty folders: {"references": folder, "predictions": folder}."""
    for name in ("references", "predictions"):
        (tmp_path / name).mkdir()
    return {"references": tmp_path / "references", "predictions": tmp_path / "predictions"}


def stored(folders, array, affine):
    """Store a reference as NiBabel does; return where its prediction belongs, without suffix."""
    nibabel.save(nibabel.Nifti1Image(array, affine), folders["references"] / "case_1.nii.gz")
    return folders["predictions"] / "case_1"


def as_float(array):
    return nibabel.Nifti1Image(array.astype(np.float32), OBLIQUE)


def as_wide(array):
    return nibabel.Nifti1Image(array.astype(np.int32), OBLIQUE)


def as_one_of_four_dimensions(array):
    return nibabel.Nifti1Image(array[..., None], OBLIQUE)


def as_second_version(array):
    return nibabel.Nifti2Image(array, OBLIQUE)


def in_other_axes(array):
    image = nibabel.Nifti1Image(array, OBLIQUE)
    return image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))


@pytest.mark.parametrize("tool", [as_float, as_wide, as_one_of_four_dimensions, as_second_version, in_other_axes])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_masks_are_read_however_another_tool_stores_them(folders, stack, tool, suffix):
    array = stack([20, 21])
    target = stored(folders, array, OBLIQUE)
    nibabel.save(tool(array), target.with_suffix(suffix))
    (scan,) = evaluate_folders(**folders, name="toy").scans
    assert (scan.mean_dice, scan.bone_dice, scan.all_correct) == (1.0, 1.0, True)
    assert all(score.nsd_1_5mm == 1.0 and score.hd95_mm == 0.0 for score in scan.labels)


def test_a_mask_that_its_header_scales_is_read_as_scaled(folders, stack):
    array = stack([20, 21])
    target = stored(folders, array, OBLIQUE)
    content = bytearray(nibabel.Nifti1Image((array.astype(np.int16) + 1) * 2, OBLIQUE).to_bytes())
    struct.pack_into("<ff", content, 112, 0.5, -1.0)  # scl_slope, scl_inter
    target.with_suffix(".nii").write_bytes(content)
    assert evaluate_folders(**folders, name="toy").summary.dice_scan_mean == 1.0


def test_slanted_axes_are_refused_at_once_where_surfaces_are_wanted(folders, stack):
    slanted = OBLIQUE.copy()
    slanted[0, 2] += 0.4
    target = stored(folders, stack([20, 21]), slanted)
    nibabel.save(nibabel.Nifti1Image(stack([20, 21]), slanted), target.with_suffix(".nii"))
    with pytest.raises(
        InvalidValueError, match="cosine .* case_1 is .*; expected perpendicular axes.*without surfaces"
    ):
        evaluate_folders(**folders, name="toy")
    assert evaluate_folders(**folders, name="toy", surfaces=False).summary.dice_scan_mean == 1.0


@pytest.mark.parametrize("degrees", [0.0, 0.3, 12.0])
def test_what_simpleitk_writes_for_a_tilted_scan_lies_on_its_grid(folders, stack, degrees):
    array, angle = stack([20, 21]), np.radians(degrees)
    affine = np.diag([-0.7812, -0.7812, 3.0, 1.0])
    affine[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]] @ affine[:3, :3]
    affine[:3, 3] = (199.6094, -1199.301, -742.875)
    target = stored(folders, array, affine)
    read = SimpleITK.ReadImage(str(folders["references"] / "case_1.nii.gz"))
    SimpleITK.WriteImage(SimpleITK.Cast(read, SimpleITK.sitkInt32), str(target) + ".nii.gz")
    assert evaluate_folders(**folders, name="toy").summary.dice_scan_mean == 1.0


def test_scores_do_not_depend_on_the_axes_that_either_file_is_stored_in(folders, stack):
    array = stack([20, 21])
    target = stored(folders, array, OBLIQUE)
    wrong = nibabel.Nifti1Image(np.roll(array, 3, axis=0), OBLIQUE)
    nibabel.save(wrong, target.with_suffix(".nii.gz"))
    (same,) = evaluate_folders(**folders, name="toy").scans
    nibabel.save(in_other_axes(np.roll(array, 3, axis=0)), target.with_suffix(".nii.gz"))
    (turned,) = evaluate_folders(**folders, name="toy").scans
    assert turned.mean_dice == same.mean_dice < 0.8
    for one, other in zip(turned.labels, same.labels, strict=True):
        for score in ("localisation_mm", "nsd_1_5mm", "nsd_3mm", "hd95_mm"):
            assert getattr(one, score) == pytest.approx(getattr(other, score), abs=1e-4)


def test_a_mirrored_file_is_not_the_same_voxels(folders, stack):
    target = stored(folders, stack([20, 21]), OBLIQUE)
    nibabel.save(nibabel.Nifti1Image(stack([20, 21]), np.diag([1, 1, -1, 1]) @ OBLIQUE), target.with_suffix(".nii"))
    with pytest.raises(GridMismatchError, match="case_1.*different grids: origin .*, both in RAS order"):
        evaluate_folders(**folders, name="toy")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_a_case_takes_no_more_memory_than_its_headers_are_taken_to_say(folders, monkeypatch, kind):
    monkeypatch.setattr(headers, "_WORKER_BYTES", 1 << 20)
    array = np.zeros((120, 120, 120), kind, order="F")
    array[30:80, 30:80, 30:80] = 20
    target = stored(folders, array, OBLIQUE)
    nibabel.save(in_other_axes(array), target.with_suffix(".nii.gz"))
    head = headers.read_head(folders["references"] / "case_1.nii.gz")
    evaluate_folders(**folders, name="toy")  # what is loaded and compiled once is not counted
    tracemalloc.start()
    evaluate_folders(**folders, name="toy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.3 < peak / headers.needed_bytes(head, head) < 1.0
