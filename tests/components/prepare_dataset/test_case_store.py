"""Kept cases: found again by content, never trusted unread, gone when they are of no use."""

import numpy as np
import pytest

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.dataset import Manifest, image_path
from spine.storage import digest_file

CHOICES = Choices(seed=1, test_share=0.3)


def hashes(folder):
    return {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def sources(folder):
    return {path.relative_to(folder): path.stat().st_ino for path in folder.rglob("*.nii.gz")}


def test_after_one_new_case_only_that_case_is_prepared(many, tmp_path, capsys):
    late = {kind: many / kind / "case_08.nii.gz" for kind in ("volumes", "segmentations")}
    for kind, path in late.items():
        path.rename(tmp_path / f"{kind}.nii.gz")
    folder = tmp_path / "prepared"
    prepare_dataset(raw=many, output=folder, choices=CHOICES)
    before = sources(folder)
    for kind, path in late.items():
        (tmp_path / f"{kind}.nii.gz").rename(path)
    capsys.readouterr()
    prepare_dataset(raw=many, output=folder, choices=CHOICES)
    after = sources(folder)
    # The same file on disk, not one with the same content: nothing was written again.
    assert before.items() <= after.items()
    assert {path.name for path in after.keys() - before.keys()} == {"case_08.nii.gz", "case_08_0000.nii.gz"}
    assert "16/16 15 as before" in capsys.readouterr().err


def test_a_changed_source_is_prepared_again(prepared, many):
    import nibabel

    folder, before = prepared
    path = many / "volumes" / "case_04.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), path)
    after = prepare_dataset(raw=many, output=folder, choices=CHOICES)
    changed = {a.case for a, b in zip(after.cases, before.cases, strict=True) if a.image_sha256 != b.image_sha256}
    assert changed == {"case_04"}


def test_a_kept_case_that_was_damaged_is_not_trusted(prepared, many):
    folder, _ = prepared
    expected = hashes(folder)
    victim = image_path(folder, Manifest.of(folder).cases[0])
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(content)  # the store's file too: they are one
    prepare_dataset(raw=many, output=folder, choices=CHOICES)
    assert hashes(folder) == expected


def test_cases_that_left_the_raw_data_leave_the_store(prepared, many):
    folder, _ = prepared
    store = folder.with_name(".prepared.cases")
    assert sum(path.is_dir() for path in store.iterdir()) == 16
    for kind in ("volumes", "segmentations"):
        (many / kind / "case_01.nii.gz").unlink()
    prepare_dataset(raw=many, output=folder, choices=CHOICES)
    assert sum(path.is_dir() for path in store.iterdir()) == 15


@pytest.mark.parametrize("damage", [b"x", b"", None, "cut"])
@pytest.mark.parametrize("name", ["fingerprint.npz", "row.json", "image.nii.gz"])
def test_whatever_is_damaged_in_the_store_is_prepared_anew(raw, tmp_path, name, damage):
    folder = tmp_path / "prepared"
    prepare_dataset(raw=raw, output=folder, choices=Choices())
    expected = hashes(folder)
    victim = next((tmp_path / ".prepared.cases").glob(f"*/{name}"))
    content = victim.read_bytes()
    victim.unlink()
    if damage is not None:
        victim.write_bytes(content[:-20] if damage == "cut" else damage)
    prepare_dataset(raw=raw, output=folder, choices=Choices())
    assert hashes(folder) == expected


def test_a_changed_number_in_the_store_does_not_reach_the_manifest(raw, tmp_path):
    prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices())
    expected = hashes(tmp_path / "prepared")
    row = next((tmp_path / ".prepared.cases").glob("*/row.json"))
    row.write_text(row.read_text().replace('"L2": ', '"L2": 1'))
    prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices())
    assert hashes(tmp_path / "prepared") == expected
