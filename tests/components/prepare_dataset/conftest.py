"""A raw set of three clean cases, and ways to write a case exactly as a test wants it, faults included."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from components.prepare_dataset.checks import CheckedCase, check_case
from components.prepare_dataset.layouts import find_cases
from components.prepare_dataset.main import Choices, prepare_dataset
from spine.dataset import Finding, Manifest
from spine.phantom import make_scan
from spine.volume.nifti import write_volume

CLEAN = {"case_a": 0, "case_b": 9, "case_c": 15}
"""Patients of the phantom whose L1-L4 at 6 mm give no finding."""


@dataclass
class RawFiles:
    """The two files of one case, read and rewritten without any of our own checks."""

    image: Path
    labels: Path

    def voxels(self, kind: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
        loaded = nibabel.load(getattr(self, kind))
        return np.array(loaded.dataobj), np.array(loaded.affine)

    def write(self, kind: str, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
        nibabel.save(nibabel.Nifti1Image(array, affine), getattr(self, kind))

    def change(self, kind: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        array, affine = self.voxels(kind)
        self.write(kind, change(array), affine)


def _write_scans(folder: Path, patients: dict[str, int], *, spacing_mm: float) -> None:
    for case, patient in patients.items():
        scan = make_scan(seed=1, patient=patient, first=20, last=23, spacing_mm=(spacing_mm,) * 3)
        write_volume(folder / "volumes" / f"{case}.nii.gz", scan.image)
        write_volume(folder / "segmentations" / f"{case}.nii.gz", scan.labels)


@pytest.fixture(scope="session")
def _clean_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "raw"
    _write_scans(folder, CLEAN, spacing_mm=6.0)
    return folder


@pytest.fixture(scope="session")
def _many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "raw"
    _write_scans(folder, {f"case_{number:02d}": number for number in range(16)}, spacing_mm=10.0)
    # Pairs of scans share a patient.
    rows = [f"case_{number:02d},patient_{number // 2}" for number in range(16)]
    (folder / "patients.csv").write_text("\n".join(["case,patient", *rows]) + "\n")
    return folder


@pytest.fixture
def raw(tmp_path: Path, _clean_set: Path) -> Path:
    """A copy of the clean raw set, to plant a fault in."""
    return Path(shutil.copytree(_clean_set, tmp_path / "raw"))


@pytest.fixture
def many(tmp_path: Path, _many: Path) -> Path:
    """A copy of sixteen coarse scans of eight patients."""
    return Path(shutil.copytree(_many, tmp_path / "many"))


@pytest.fixture
def prepared(many: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    """The sixteen scans, prepared with seed 1 and a test share of 0.3: (folder, manifest)."""
    choices = Choices(seed=1, test_share=0.3)
    return tmp_path / "prepared", prepare_dataset(raw=many, output=tmp_path / "prepared", choices=choices)


@pytest.fixture
def files(raw: Path) -> RawFiles:
    """The files of case_b, the one that faults are planted in."""
    return RawFiles(image=raw / "volumes" / "case_b.nii.gz", labels=raw / "segmentations" / "case_b.nii.gz")


@pytest.fixture
def files_of() -> Callable[[Path, str], RawFiles]:
    """A function that returns the files of one case of a raw folder."""

    def files(folder: Path, case: str) -> RawFiles:
        return RawFiles(folder / "volumes" / f"{case}.nii.gz", folder / "segmentations" / f"{case}.nii.gz")

    return files


@pytest.fixture
def findings() -> Callable[[Path], list[Finding]]:
    """A function that checks every case of a raw folder and returns all findings."""

    def check(folder: Path) -> list[Finding]:
        return [finding for case in find_cases(folder).cases for finding in check_case(case)[1]]

    return check


@pytest.fixture
def checked() -> Callable[[Path, str], CheckedCase]:
    """A function that returns one case of a raw folder, which must be accepted."""

    def check(folder: Path, case: str) -> CheckedCase:
        (found,) = (each for each in find_cases(folder).cases if each.case == case)
        accepted, told = check_case(found)
        assert accepted, told
        return accepted

    return check


@pytest.fixture
def told() -> Callable[[Iterable[Finding]], list[tuple[str, str, str]]]:
    """A function that gives findings as (case, check, severity), sorted."""

    def tell(found: Iterable[Finding]) -> list[tuple[str, str, str]]:
        return sorted((each.case, each.check, each.severity) for each in found)

    return tell
