from pathlib import Path

import numpy as np
import pytest

from spine.errors import InvalidValueError
from spine.labels import IDS
from spine.phantom.raw_layouts import RawCase
from spine.phantom.raw_set import write_raw_set
from spine.storage import digest_folder
from spine.volume.nifti import read_image, read_labels, to_canonical

SCANS = 12


@pytest.fixture(scope="module")
def raw_set(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[RawCase, ...]]:
    folder = tmp_path_factory.mktemp("raw")
    return folder, write_raw_set(folder, scans=SCANS, seed=21)


def test_layout_is_that_of_the_kaggle_set(raw_set: tuple[Path, tuple[RawCase, ...]]) -> None:
    folder, cases = raw_set
    names = [f"case_{number:04d}.nii.gz" for number in range(SCANS)]
    assert sorted(path.name for path in (folder / "volumes").iterdir()) == names
    assert sorted(path.name for path in (folder / "segmentations").iterdir()) == names
    lines = (folder / "patients.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["case,patient", "case_0000,patient_000"]
    assert lines[1:] == [f"{case.case},{case.patient}" for case in cases]


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_raw_set(tmp_path / "one", scans=2, seed=4)
    write_raw_set(tmp_path / "two", scans=2, seed=4)
    before = digest_folder(tmp_path / "one")
    write_raw_set(tmp_path / "one", scans=2, seed=4)
    assert before == digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")


def test_a_smaller_set_is_the_start_of_a_larger_one(tmp_path: Path, raw_set: tuple[Path, tuple[RawCase, ...]]) -> None:
    for small, large in zip(write_raw_set(tmp_path, scans=2, seed=21), raw_set[1], strict=False):
        assert small.image.read_bytes() == large.image.read_bytes()


def test_spacings_orientations_and_patients_vary(raw_set: tuple[Path, tuple[RawCase, ...]]) -> None:
    _, cases = raw_set
    grids = [read_image(case.image).grid for case in cases]
    assert len({grid.orientation for grid in grids}) >= 4
    spacings = {tuple(np.round(grid.spacing_mm, 3)) for grid in grids}
    assert len(spacings) >= 4
    assert any(len(set(spacing)) > 1 for spacing in spacings)
    assert all(2.5 <= edge <= 4 for spacing in spacings for edge in spacing)
    patients = [case.patient for case in cases]
    assert len(set(patients)) == SCANS * 3 // 4
    assert max(patients.count(patient) for patient in patients) == 2


def test_borders_vary_and_cut_vertebrae(raw_set: tuple[Path, tuple[RawCase, ...]]) -> None:
    tops, cut, with_s1 = set(), 0, 0
    for case in raw_set[1]:
        image, labels = read_image(case.image), to_canonical(read_labels(case.labels))
        assert labels.grid.difference(to_canonical(image).grid) is None
        present = np.unique(labels.array)[1:]
        assert np.array_equal(present, np.arange(present[0], present[-1] + 1))
        tops.add(int(present[0]))
        cut += bool(labels.array[..., -1].any())
        with_s1 += IDS["S1"] in present
    assert len(tops) >= 3
    assert cut >= SCANS // 2
    assert with_s1 >= SCANS - 1


@pytest.mark.parametrize("wrong", [{"scans": 0, "seed": 1}, {"scans": 1, "seed": -1}])
def test_counts_and_seeds_without_meaning_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError):
        write_raw_set(tmp_path, **wrong)
