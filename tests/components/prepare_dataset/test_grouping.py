"""What must stay on one side of a split: patients, and scans that look the same."""

import numpy as np
import pytest

from components.prepare_dataset.checks.anatomy import measure
from components.prepare_dataset.fingerprints import SAME_SCAN, Likeness, alike, fingerprint
from components.prepare_dataset.grouping import group_cases
from spine.phantom import make_scan
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, to_canonical


def like(first, second, correlation=0.99):
    return Likeness(first, second, correlation)


def grouped(patients, *likenesses, lock=None):
    return group_cases(patients, likenesses=likenesses, lock=lock or {})


def test_cases_of_one_patient_are_one_group():
    made = grouped({"a": "p", "b": "q", "c": "p"})
    assert made.groups == {"p": ("a", "c"), "q": ("b",)}
    assert not made.findings


def test_what_looks_alike_joins_two_patients_and_is_told():
    made = grouped({"a": "p", "b": "q", "c": "r"}, like("a", "c"))
    assert made.groups == {"p": ("a", "c"), "q": ("b",)}
    (found,) = made.findings
    assert (found.check, found.case, found.value, found.severity) == ("near-duplicate", "c", 0.99, "warn")
    assert "looks like a" in found.message


def test_likeness_within_a_patient_is_no_finding():
    assert not grouped({"a": "p", "b": "p"}, like("a", "b")).findings


def test_likeness_is_passed_on():
    made = grouped({"a": "p", "b": "q", "c": "r"}, like("a", "b"), like("b", "c"))
    assert made.groups == {"p": ("a", "b", "c")}


def test_the_side_of_a_locked_member_holds_for_its_group():
    made = grouped({"a": "p", "b": "p", "c": "q"}, like("b", "c"), lock={"a": "test"})
    assert made.locked == {"p": "test"}


def test_a_patient_on_both_sides_loses_the_training_cases():
    made = grouped({"a": "p", "b": "p", "c": "p"}, lock={"a": "test", "b": "train"})
    assert made.groups == {"p": ("a", "c")} and made.locked == {"p": "test"}
    (found,) = made.findings
    assert (found.check, found.case, found.severity) == ("split-conflict", "b", "reject")


def test_a_new_case_that_would_tie_both_sides_is_left_out():
    patients = {"a": "p", "b": "q", "new": "r"}
    made = grouped(patients, like("a", "new", 0.99), like("b", "new", 0.98), lock={"a": "test", "b": "train"})
    assert made.groups == {"p": ("a",), "q": ("b",)} or made.groups == {"p": ("a", "new"), "q": ("b",)}
    sides = {case: made.locked[name] for name, cases in made.groups.items() for case in cases}
    assert sides["a"] == "test" and sides["b"] == "train" and sides.get("new") != "train"


def test_two_old_cases_found_alike_on_both_sides_lose_the_training_one():
    made = grouped({"a": "p", "b": "q"}, like("a", "b"), lock={"a": "train", "b": "test"})
    assert made.groups == {"q": ("b",)} and made.rejected == {"a"}


def printed(image, labels):
    image, labels = to_canonical(image), to_canonical(labels)
    return fingerprint(image, measure(labels))


@pytest.fixture(scope="module")
def scans():
    return {
        patient: make_scan(seed=2, patient=patient, first=18, last=25, spacing_mm=(2.0,) * 3) for patient in range(4)
    }


def noisy(scan):
    noise = np.random.default_rng(0).normal(0, 20, scan.image.array.shape)
    return Volume(array=(scan.image.array + noise).round().astype(np.int16), grid=scan.image.grid), scan.labels


def cropped(scan):
    box = (slice(3, -2), slice(2, -3), slice(0, int(scan.image.array.shape[2] * 0.7)))
    affine = scan.image.grid.matrix.copy()
    affine[:3, 3] += 5
    volumes = (np.ascontiguousarray(volume.array[box]) for volume in (scan.image, scan.labels))
    return tuple(Volume(array=array, grid=Grid.of(array.shape, affine)) for array in volumes)


def resampled(scan):
    from scipy.ndimage import map_coordinates

    shape = tuple(int(size / 1.25) for size in scan.image.array.shape)
    at = np.meshgrid(*(np.arange(size) * 1.25 + 0.3 for size in shape), indexing="ij")
    affine = scan.image.grid.matrix.copy()
    affine[:3, 3] = (affine @ [0.3, 0.3, 0.3, 1])[:3]
    affine[:3, :3] *= 1.25
    grid = Grid.of(shape, affine)
    image = map_coordinates(scan.image.array.astype(np.float32), at, order=1, mode="nearest")
    labels = map_coordinates(scan.labels.array, at, order=0, mode="nearest")
    return Volume(array=image.round().astype(np.int16), grid=grid), Volume(array=labels, grid=grid)


@pytest.mark.parametrize("change", [noisy, cropped, resampled], ids=["noise", "crop and origin", "another spacing"])
def test_a_changed_copy_of_a_scan_is_known_among_other_patients(scans, change):
    prints = {f"p{patient}": printed(scan.image, scan.labels) for patient, scan in scans.items()}
    for patient in scans:
        prints[f"p{patient} copy"] = printed(*change(scans[patient]))
    found = {(pair.first, pair.second) for pair in alike(prints)}
    assert found == {(f"p{patient}", f"p{patient} copy") for patient in scans}


def test_scans_without_a_vertebra_in_common_are_never_alike(scans):
    neck = make_scan(seed=2, patient=0, first=3, last=6, spacing_mm=(2.0,) * 3)
    prints = {"neck": printed(neck.image, neck.labels), "back": printed(scans[0].image, scans[0].labels)}
    assert alike(prints, threshold=-1.1) == [] or alike(prints, threshold=0.0) == []
    assert SAME_SCAN > 0.9


def test_one_case_is_like_nobody(scans):
    assert alike({"a": printed(scans[0].image, scans[0].labels)}) == [] and alike({}) == []
