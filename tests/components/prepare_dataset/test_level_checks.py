"""Faults of levels that no single voxel shows: merged, split, mirrored, misplaced; and none where there is none."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from components.prepare_dataset.checks import check_case
from components.prepare_dataset.raw_case import RawCase
from spine.labels import IDS
from spine.phantom import make_scan
from spine.volume.nifti import write_volume

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
L2 = IDS["L2"]


def merged(array):
    """T9 and T10 as one, with all below renamed: what a careless annotator leaves."""
    return np.where(array > T9, array - 1, array).astype(array.dtype)


def split(array):
    """The lower half of T9 called T10, with all below renamed."""
    heights = np.flatnonzero((array == T9).any(axis=(0, 1)))
    middle = heights[len(heights) // 2]
    changed = np.where(array > T9, array + 1, array).astype(array.dtype)
    lower = changed[:, :, : middle + 1]
    lower[lower == T9] = T9 + 1
    return changed


T9 = IDS["T9"]
LEVEL_FAULTS = {
    "two levels under one name": (merged, {"level-size"}),
    "one level under two names": (split, {"level-size", "level-spacing"}),
}


@pytest.mark.parametrize(("change", "checks"), LEVEL_FAULTS.values(), ids=LEVEL_FAULTS)
def test_a_level_merged_or_split_is_noticed_by_its_size_and_distance(tmp_path, findings, change, checks):
    scan = make_scan(seed=1, patient=3, first=13, last=22, spacing_mm=(3.0, 3.0, 3.0))
    write_volume(tmp_path / "volumes" / "a.nii.gz", scan.image)
    write_volume(tmp_path / "segmentations" / "a.nii.gz", scan.labels)
    assert {each.check for each in findings(tmp_path)} <= {"border-fragment"}
    labels = scan.labels
    write_volume(tmp_path / "segmentations" / "a.nii.gz", type(labels)(array=change(labels.array), grid=labels.grid))
    found = {each.check for each in findings(tmp_path) if each.severity == "warn"}
    assert found & checks
    assert found <= {"level-size", "level-spacing", "adjacent-levels", "one-component"}


def test_levels_that_touch_across_one_another_are_noticed(raw, files, findings, told):
    def change(array):
        # A strip of L2's bone called L4: no main component is lost, but L4 touches L2.
        changed = array.copy()
        inside = np.argwhere(array == L2)
        for i, j, k in inside[-9:]:
            changed[i, j, k] = IDS["L4"]
        return changed

    files.change("labels", change)
    found = {check for _, check, _ in told(findings(raw))}
    assert "adjacent-levels" in found or "one-component" in found


@pytest.mark.parametrize(
    ("mirrored", "words"),
    [(lambda a: a[::-1], "left-right"), (lambda a: a[:, ::-1], "back-front"), (lambda a: a[:, :, ::-1], "up-down")],
    ids=["left-right", "back-front", "up-down"],
)
def test_a_mask_that_was_mirrored_against_its_volume_is_noticed_with_the_axis(raw, files, findings, mirrored, words):
    files.change("labels", mirrored)
    (found,) = [each for each in findings(raw) if each.check == "mask-mirrored"]
    assert words in found.message and found.value > 25


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["abdomen_3mm", "l3_crop_pir"])
def test_a_real_mask_mirrored_along_any_axis_is_noticed(tmp_path, name, axis):
    if not DATA.is_dir():
        pytest.skip(f"no real data: {DATA} is not there")
    labels = nibabel.load(DATA / name / "labels.nii.gz")
    flipped = nibabel.Nifti1Image(np.flip(np.asarray(labels.dataobj), axis), labels.affine)
    nibabel.save(flipped, tmp_path / "labels.nii.gz")
    raw = RawCase(case=name, image=DATA / name / "ct.nii.gz", labels=tmp_path / "labels.nii.gz")
    assert "mask-mirrored" in {each.check for each in check_case(raw)[1]}


def test_a_volume_without_its_rescale_offset_is_noticed(raw, files, findings, told):
    files.change("image", lambda array: array + np.int16(1024))
    assert told(findings(raw)) == [("case_b", "mask-on-bone", "warn")]


@pytest.mark.parametrize("spacing", [2.0, 3.0, 4.0])
def test_whole_phantom_spines_give_no_warning_about_levels(tmp_path, findings, spacing):
    for patient in range(6):
        scan = make_scan(seed=3, patient=patient, first=5, last=25, spacing_mm=(spacing,) * 3)
        write_volume(tmp_path / "volumes" / f"p{patient}.nii.gz", scan.image)
        write_volume(tmp_path / "segmentations" / f"p{patient}.nii.gz", scan.labels)
    warned = [each for each in findings(tmp_path) if each.severity != "note"]
    assert [each for each in warned if each.check != "one-component"] == []


def saved(path, array, affine, *, codes=2):
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code=codes)
    image.set_qform(affine, code=codes)
    nibabel.save(image, path)


@pytest.fixture
def thoracic(tmp_path):
    """Arrays of a clean thoracic scan (image, labels), its affine, and a function that writes them as a raw set."""
    scan = make_scan(seed=1, patient=3, first=13, last=22, spacing_mm=(3.0, 3.0, 3.0))

    def write(image, labels, affine, **how):
        for kind, array in (("volumes", image), ("segmentations", labels)):
            (tmp_path / kind).mkdir(exist_ok=True)
            saved(tmp_path / kind / "a.nii.gz", array, affine, **how)
        return tmp_path

    return scan.image.array, scan.labels.array, scan.image.grid.matrix, write


def checks_of(found):
    return {each.check for each in found if each.severity != "note"}


def test_a_header_that_says_nothing_of_its_axes_is_warned_about(thoracic, findings):
    image, labels, affine, write = thoracic
    assert checks_of(findings(write(image, labels, affine))) == set()
    assert checks_of(findings(write(image, labels, affine, codes=0))) == {"known-axes"}


def test_a_spine_that_lies_along_another_axis_is_noticed(thoracic, findings):
    image, labels, affine, write = thoracic
    turned = (np.transpose(array, (0, 2, 1)) for array in (image, labels))
    assert "upright-spine" in checks_of(findings(write(*turned, affine)))


@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_a_spacing_that_no_body_has_is_noticed(thoracic, findings, factor):
    image, labels, affine, write = thoracic
    scaled = affine @ np.diag([factor, factor, factor, 1])
    assert {"level-distance", "level-height"} & checks_of(findings(write(image, labels, scaled)))


def test_a_mask_that_names_no_levels_is_noticed(thoracic, findings):
    image, labels, affine, write = thoracic
    assert "level-height" in checks_of(findings(write(image, (labels > 0).astype(np.uint8), affine)))


def test_a_picture_of_8_bits_is_no_ct(thoracic, findings):
    image, labels, affine, write = thoracic
    windowed = (np.clip((image + 200) / 600, 0, 1) * 255).astype(np.uint8)
    (found,) = findings(write(windowed, labels, affine))
    assert (found.check, found.severity) == ("hounsfield-range", "reject") and "8 bits" in found.message


def test_a_single_slice_is_no_volume(thoracic, findings):
    image, labels, affine, write = thoracic
    middle = image.shape[2] // 2
    (found,) = findings(write(image[..., middle : middle + 1], labels[..., middle : middle + 1], affine))
    assert (found.check, found.severity) == ("three-dimensions", "reject")
