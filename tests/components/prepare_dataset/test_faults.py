"""A set in each layout with every fault planted, each in a case of its own: all of them are found, and nothing else."""

import gzip
import json
import shutil
from dataclasses import dataclass

import nibabel
import numpy as np
import pytest

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.labels import IDS
from spine.phantom import make_scan
from spine.phantom.dicom_series import write_series
from spine.phantom.raw_layouts import WRITERS
from spine.phantom.scans import PhantomScan
from spine.volume.nifti import Volume, read_image

CLEAN = [0, 1, 9, 11, 12, 15, 21, 22, 27, 29, 31, 39, 41, 44, 45, 54, 57, 61, 65, 66, 67, 72, 75, 79, 82, 96, 97, 101]
"""Patients of the phantom whose L1-L4 at 6 mm give no finding."""
L2, L3 = IDS["L2"], IDS["L3"]
LABEL_MAPS = ("kaggle", "verse", "ctspine1k", "nnunet", "dicom")
RENAMING = ("skipped level", "swapped levels", "mask beside the bone")
"""Faults after which VerSe's centroids don't agree with the mask either."""
NIFTI = ("kaggle", "totalsegmentator", "verse", "ctspine1k", "nnunet")
DICOM = ("dicom",)
MASKS = ("totalsegmentator",)
ALL = (*NIFTI, *DICOM)


def save(path, array, affine):
    nibabel.save(nibabel.Nifti1Image(array, affine, dtype=array.dtype), path)


def changed(kind, change):
    """A fault in the voxels of the image's or the mask's file."""

    def plant(case):
        path = getattr(case, kind)
        loaded = nibabel.load(path)
        save(path, change(np.array(loaded.dataobj)), loaded.affine)

    return plant


def relabelled(names):
    def change(array):
        table = np.arange(256, dtype=np.int16)
        for old, new in names.items():
            table[old] = new
        return table[array]

    return changed("labels", change)


def with_voxel(value):
    def change(array):
        array = array.astype(np.float32)
        array[2, 3, 4] = value
        return array

    return changed("image", change)


def lowest_is_l6(array):
    return np.where(array == array.max(), 25, array).astype(np.int16)


def in_two_pieces(array):
    heights = np.flatnonzero((array == L2).any(axis=(0, 1)))
    layer = array[:, :, heights[len(heights) // 2]]
    layer[layer == L2] = 0
    return array


def moved_mask(case):
    loaded = nibabel.load(case.labels)
    affine = loaded.affine.copy()
    affine[0, 3] += 0.01
    save(case.labels, np.array(loaded.dataobj), affine)


def beside_the_bone(array):
    return np.roll(array, array.shape[1] // 2, axis=1)


def sheared(case):
    for path in [case.image, *([case.labels] if case.labels.is_file() else case.labels.glob("*.nii.gz"))]:
        loaded = nibabel.load(path)
        affine = loaded.affine.copy()
        affine[1, 2] = affine[2, 2] * np.tan(np.radians(5))
        save(path, np.array(loaded.dataobj), affine)


def turned(case):
    for path in [case.image, *([case.labels] if case.labels.is_file() else case.labels.glob("*.nii.gz"))]:
        image = nibabel.load(path)
        codes = [nibabel.orientations.axcodes2ornt(name) for name in ("RAS", "PIR")]
        image = image.as_reoriented(nibabel.orientations.ornt_transform(*codes))
        save(path, np.asarray(image.dataobj), image.affine)


def truncated(case):
    content = case.image.read_bytes()
    case.image.write_bytes(content[: len(content) * 2 // 3])


def plain_under_gz(case):
    case.image.write_bytes(gzip.decompress(case.image.read_bytes()))


def without(kind):
    def plant(case):
        path = getattr(case, kind)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return plant


def both_suffixes(case):
    case.image.with_suffix("").write_bytes(gzip.decompress(case.image.read_bytes()))


def foreign_vertebra(case):
    shutil.copy(case.labels / "vertebrae_L5.nii.gz", case.labels / "vertebrae_L6.nii.gz")


def overlapping(case):
    shutil.copy(case.labels / "vertebrae_L2.nii.gz", case.labels / "vertebrae_T3.nii.gz")


def mask_of_two(case):
    path = case.labels / "vertebrae_L2.nii.gz"
    loaded = nibabel.load(path)
    save(path, np.array(loaded.dataobj) * 2, loaded.affine)


def empty_masks(case):
    for path in case.labels.glob("*.nii.gz"):
        loaded = nibabel.load(path)
        save(path, np.zeros_like(loaded.dataobj), loaded.affine)


def swapped_masks(case):
    first, second = (case.labels / f"vertebrae_{name}.nii.gz" for name in ("L2", "L3"))
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)


def another_centroid(case):
    (path,) = case.labels.parent.glob(f"{case.case}*_ctd.json")
    head, *rows = json.loads(path.read_text())
    for row in rows:
        row["label"] += 1
    path.write_text(json.dumps([head, *rows]))


def second_series(case):
    scan = make_scan(seed=1, patient=9, first=20, last=23, spacing_mm=(6.0,) * 3)
    write_series(case.image / "more", scan.image, patient=case.patient, series=99)


def tilted(case):
    import pydicom

    for path in case.image.iterdir():
        header = pydicom.dcmread(path)
        header.ImagePositionPatient[1] += 0.1 * float(header.ImagePositionPatient[2])
        header.save_as(path)


def missing_slice(case):
    import pydicom

    files = sorted(case.image.iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
    files[len(files) // 2].unlink()


def without_uids(case):
    import pydicom

    for path in case.image.iterdir():
        header = pydicom.dcmread(path)
        del header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
        header.save_as(path)


def with_localizer(case):
    volume = read_image_of(case)
    shutil.rmtree(case.image)
    write_series(case.image, volume, patient=case.patient, series=500, localizer=True)


def read_image_of(case):
    from spine.volume.dicom import read_series

    return read_series(case.image).volume if case.image.is_dir() else read_image(case.image)


def zero_bytes(case):
    path = next(iter(case.image.iterdir())) if case.image.is_dir() else case.image
    path.write_bytes(b"")


def short_slice(case):
    path = next(iter(case.image.iterdir()))
    path.write_bytes(path.read_bytes()[:-200])


@dataclass(frozen=True)
class Fault:
    plant: object
    finds: tuple[tuple[str, str], ...]
    layouts: tuple[str, ...] = ALL


def fault(plant, check, severity, layouts=ALL):
    return Fault(plant, ((check, severity),), layouts)


FAULTS = {
    "truncated gzip": fault(truncated, "readable", "reject", NIFTI),
    ".nii under .nii.gz": fault(plain_under_gz, "honest-suffix", "reject", NIFTI),
    "zero bytes": fault(zero_bytes, "readable", "reject"),
    "4-D": fault(changed("image", lambda a: np.stack([a, a], axis=-1)), "three-dimensions", "reject", NIFTI),
    "NaN": fault(with_voxel(np.nan), "finite-voxels", "reject", NIFTI),
    "Inf": fault(with_voxel(np.inf), "finite-voxels", "reject", NIFTI),
    "no HU": fault(with_voxel(-9000), "hounsfield-range", "reject", NIFTI),
    "sheared axes": fault(sheared, "orthonormal-axes", "reject", NIFTI),
    "P-I-R": fault(turned, "orientation", "note", NIFTI),
    "no mask": fault(without("labels"), "one-mask-a-volume", "reject"),
    "no volume": fault(without("image"), "one-mask-a-volume", "reject"),
    "a.nii beside a.nii.gz": fault(both_suffixes, "unique-files", "reject", NIFTI),
    "int64 labels": fault(changed("labels", lambda a: a.astype(np.int64)), "label-type", "note", LABEL_MAPS),
    "float labels": fault(changed("labels", lambda a: a.astype(np.float32)), "label-type", "note", LABEL_MAPS),
    "fractions": fault(changed("labels", lambda a: a * np.float32(1.5)), "label-ids", "reject", LABEL_MAPS),
    "label 60": fault(relabelled({L2: 60}), "label-ids", "reject", LABEL_MAPS),
    "empty mask": fault(changed("labels", np.zeros_like), "mask-not-empty", "reject", LABEL_MAPS),
    "mask of another grid": fault(moved_mask, "one-grid", "reject", LABEL_MAPS),
    "mask of another size": fault(changed("labels", lambda a: a[:, :, :-1]), "one-grid", "reject", LABEL_MAPS),
    "skipped level": fault(relabelled({L2: 0}), "contiguous-levels", "warn", LABEL_MAPS),
    "swapped levels": fault(relabelled({L2: L3, L3: L2}), "superior-to-inferior", "warn", LABEL_MAPS),
    "two pieces": fault(changed("labels", in_two_pieces), "one-component", "warn", LABEL_MAPS),
    "mask beside the bone": fault(changed("labels", beside_the_bone), "mask-on-bone", "warn", LABEL_MAPS),
    "L6": fault(changed("labels", lowest_is_l6), "unnamed-anatomy", "warn", ("verse", "ctspine1k")),
    "foreign vertebra": fault(foreign_vertebra, "label-ids", "reject", MASKS),
    "mask of twos": fault(mask_of_two, "label-ids", "reject", MASKS),
    "overlapping masks": fault(overlapping, "overlapping-masks", "reject", MASKS),
    "empty masks": fault(empty_masks, "mask-not-empty", "reject", MASKS),
    "swapped masks": fault(swapped_masks, "superior-to-inferior", "warn", MASKS),
    "centroids of other levels": fault(another_centroid, "centroids-agree", "warn", ("verse",)),
    "two series": fault(second_series, "one-series", "reject", DICOM),
    "gantry tilt": fault(tilted, "gantry-tilt", "reject", DICOM),
    "missing slice": fault(missing_slice, "uniform-slices", "reject", DICOM),
    "missing UIDs": fault(without_uids, "missing-uids", "note", DICOM),
    "localizer": fault(with_localizer, "localizer", "note", DICOM),
    "cut slice": fault(short_slice, "readable", "reject", DICOM),
}


def noisy(scan):
    noise = np.random.default_rng(0).normal(0, 8, scan.image.array.shape)
    array = np.clip(scan.image.array + noise, -1024, 3071).round().astype(np.int16)
    return PhantomScan(image=Volume(array=array, grid=scan.image.grid), labels=scan.labels)


def write_set(folder, layout):
    """Write a case a fault, a clean one, one twice and one with noise; return what must be found by (case, check)."""
    wanted = set()
    planted = [(name, each) for name, each in FAULTS.items() if layout in each.layouts]
    for number, (name, each) in enumerate(planted):
        scan = make_scan(seed=1, patient=CLEAN[number], first=20, last=23, spacing_mm=(6.0,) * 3)
        case = WRITERS[layout](folder, number, 100 + number, scan)
        each.plant(case)
        wanted |= {(case.case, check, severity) for check, severity in each.finds}
        if layout == "verse" and name in RENAMING:
            wanted.add((case.case, "centroids-agree", "warn"))
    scan = make_scan(seed=1, patient=CLEAN[-1], first=20, last=23, spacing_mm=(6.0,) * 3)
    number = len(planted)
    WRITERS[layout](folder, number, 100 + number, scan)
    twin = WRITERS[layout](folder, number + 1, 101 + number, scan)
    alike = WRITERS[layout](folder, number + 2, 102 + number, noisy(scan))
    return wanted | {(twin.case, "duplicate", "reject"), (alike.case, "near-duplicate", "warn")}


@pytest.mark.parametrize("layout", ALL)
def test_every_planted_fault_is_found_and_nothing_else(tmp_path, layout, record_property):
    wanted = write_set(tmp_path / "raw", layout)
    choices = Choices(rejects_allowed=1.0, test_share=0.3)
    manifest = prepare_dataset(raw=tmp_path / "raw", output=tmp_path / "out", choices=choices)
    found = {(each.case, each.check, each.severity) for each in manifest.findings}
    record_property("planted", len(wanted))
    assert found == wanted
    assert manifest.layout == layout
    assert set(manifest.quarantined) == {case for case, _, severity in wanted if severity == "reject"}
