"""The whole step on small raw sets: no leakage, the same bytes every time, whole or not at all."""

import gzip
import hashlib
import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest

from components.prepare_dataset.main import Choices, main, prepare_dataset
from spine.dataset import Manifest, image_path, labels_path
from spine.errors import InvalidValueError
from spine.storage import digest_file
from spine.volume.nifti import read_image, read_labels

CHOICES = Choices(seed=1, test_share=0.3)


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_no_patient_is_in_two_splits_or_two_folds(prepared):
    _, manifest = prepared
    places = {}
    for case in manifest.cases:
        places.setdefault(case.patient, set()).add((case.split, case.fold))
    assert len(manifest.cases) == 16 and len(places) == 8
    assert all(len(place) == 1 for place in places.values())
    assert {case.split for case in manifest.cases} == {"train", "test"}


def test_folds_cover_every_training_case_once_and_hold_no_test_case(prepared):
    folder, manifest = prepared
    training = {case.case for case in manifest.members(split="train")}
    splits = json.loads((folder / "splits_final.json").read_text())
    assert len(splits) == 5
    assert Counter(case for split in splits for case in split["val"]) == Counter(training)
    for fold, split in enumerate(splits):
        assert set(split["train"]) == training - set(split["val"])
        assert set(split["val"]) == {case.case for case in manifest.members(split="train", fold=fold)}


def test_the_manifest_and_dataset_json_describe_what_was_written(prepared):
    folder, manifest = prepared
    assert Manifest.of(folder) == manifest
    for case in manifest.cases:
        image, labels = image_path(folder, case), labels_path(folder, case)
        assert (digest_file(image), digest_file(labels)) == (case.image_sha256, case.labels_sha256)
        assert read_image(image).grid.shape == read_labels(labels).grid.shape == case.shape
    described = json.loads((folder / "dataset.json").read_text())
    assert described["numTraining"] == len(manifest.members(split="train"))
    assert described["labels"]["S1"] == 25 and len(described["labels"]) == 26


def test_preparing_twice_gives_identical_files(prepared, many, tmp_path):
    folder, _ = prepared
    prepare_dataset(raw=many, output=tmp_path / "again", choices=CHOICES)
    assert hashes(folder) == hashes(tmp_path / "again")


@pytest.mark.parametrize("output", ["the same output", "another output"])
def test_adding_cases_never_moves_an_old_one_between_train_and_test(many, tmp_path, output):
    later = tmp_path / "later"
    for number in (0, 1, 6, 7, 12):
        for kind in ("volumes", "segmentations"):
            (later / kind).mkdir(parents=True, exist_ok=True)
            (many / kind / f"case_{number:02d}.nii.gz").rename(later / kind / f"case_{number:02d}.nii.gz")
    before = prepare_dataset(raw=many, output=tmp_path / "one", choices=CHOICES)
    shutil.copytree(later, many, dirs_exist_ok=True)
    target = tmp_path / ("one" if output == "the same output" else "two")
    after = prepare_dataset(raw=many, output=target, choices=CHOICES)
    split = {case.case: case.split for case in after.cases}
    assert (len(before.cases), len(after.cases)) == (11, 16)
    assert {case.case: case.split for case in before.cases}.items() <= split.items()


def test_the_lock_holds_a_case_where_it_was_even_where_the_draw_would_not(prepared, many):
    folder, manifest = prepared
    lock = folder.with_name("prepared.splits.json")
    written = json.loads(lock.read_text())
    assert written["cases"] == {case.case: case.split for case in manifest.cases}
    other = {"train": "test", "test": "train"}
    swapped = {case: other[split] for case, split in written["cases"].items()}
    lock.write_text(json.dumps({**written, "cases": swapped}))
    after = prepare_dataset(raw=many, output=folder, choices=CHOICES)
    assert {case.case: case.split for case in after.cases} == swapped
    assert json.loads(lock.read_text())["cases"] == swapped


def test_another_seed_is_refused_until_the_lock_is_removed(prepared, many):
    folder, _ = prepared
    other = Choices(seed=2, test_share=0.3)
    with pytest.raises(InvalidValueError, match="seed is 2; expected 1"):
        prepare_dataset(raw=many, output=folder, choices=other)
    folder.with_name("prepared.splits.json").unlink()
    assert prepare_dataset(raw=many, output=folder, choices=other).seed == 2


def test_another_orientation_gives_the_volumes_of_the_original(prepared, many, tmp_path):
    import nibabel

    folder, _ = prepared
    for kind in ("volumes", "segmentations"):
        path = many / kind / "case_03.nii.gz"
        image = nibabel.load(path)
        codes = [nibabel.orientations.axcodes2ornt(name) for name in ("RAS", "PIR")]
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(*codes))
        nibabel.save(nibabel.Nifti1Image(np.asarray(turned.dataobj), turned.affine), path)
    manifest = prepare_dataset(raw=many, output=tmp_path / "turned", choices=CHOICES)
    assert [(finding.check, finding.case) for finding in manifest.findings if finding.check == "orientation"] == [
        ("orientation", "case_03")
    ]
    (case,) = (each for each in manifest.cases if each.case == "case_03")
    for place in (image_path, labels_path):
        ours, theirs = read_image(place(tmp_path / "turned", case)), read_image(place(folder, case))
        assert np.array_equal(ours.array, theirs.array)
        assert ours.grid.difference(theirs.grid) is None


@pytest.mark.parametrize("reoriented", [False, True], ids=["same bytes", "stored in another orientation"])
def test_the_same_voxels_under_two_ids_are_accepted_once(many, tmp_path, reoriented):
    import nibabel

    for kind in ("volumes", "segmentations"):
        source, copy = many / kind / "case_02.nii.gz", many / kind / "case_99.nii.gz"
        shutil.copy(source, copy)
        if reoriented:
            image = nibabel.load(source)
            flip = image.as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
            nibabel.save(nibabel.Nifti1Image(np.asarray(flip.dataobj), flip.affine), copy)
    manifest = prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES)
    found = [finding for finding in manifest.findings if finding.check == "duplicate"]
    assert [(each.case, each.severity, each.message) for each in found] == [
        ("case_99", "reject", "same voxels as case_02")
    ]
    assert manifest.quarantined == ("case_99",)


def test_a_rejected_case_is_quarantined_and_its_files_are_not_written(many, tmp_path):
    (many / "segmentations" / "case_05.nii.gz").unlink()
    manifest = prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES)
    assert manifest.quarantined == ("case_05",)
    assert not [name for name in hashes(tmp_path / "prepared") if "case_05" in name]
    assert len(manifest.cases) == 15


def test_too_many_rejects_stop_with_one_line_that_names_the_first(many, tmp_path, capsys):
    for number in range(9):
        (many / "volumes" / f"case_{number:02d}.nii.gz").write_bytes(b"")
    assert main(["--raw", str(many), "--output", str(tmp_path / "prepared")]) == 2
    streams = capsys.readouterr()
    told = [line for line in streams.err.splitlines() if not line.startswith("prepare_dataset: ")]
    assert len(told) == 1 and told[0].startswith("error: share of refused cases")
    assert "0.562" in told[0] and "at most 0.5" in told[0] and "case_00" in told[0] and "zero bytes" in told[0]
    assert streams.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"many", "prepared.report", ".prepared.cases"}
    assert "zero bytes" in (tmp_path / "prepared.report" / "index.html").read_text()


def test_half_of_the_cases_may_be_rejected(many, tmp_path):
    for number in range(8):
        (many / "volumes" / f"case_{number:02d}.nii.gz").write_bytes(b"")
    assert len(prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES).quarantined) == 8


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_test_share_that_is_no_share_is_refused(many, tmp_path, share):
    with pytest.raises(InvalidValueError, match=r"test share is .*expected a number between 0 and 1"):
        prepare_dataset(raw=many, output=tmp_path / "prepared", choices=Choices(test_share=share))


def test_a_set_that_leaves_nothing_to_test_or_to_train_on_is_refused(raw, tmp_path):
    for kind in ("volumes", "segmentations"):
        for case in ("case_a", "case_b"):
            (raw / kind / f"{case}.nii.gz").unlink()
    with pytest.raises(InvalidValueError, match=r"number of (test|train) cases.*is 0; expected at least one"):
        prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices())
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("share", [0.0001, 0.2, 0.99])
def test_of_a_few_patients_one_is_tested_on_and_one_trained_on(raw, tmp_path, share):
    manifest = prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices(test_share=share))
    assert len(manifest.cases) == 3 and manifest.members(split="test") and manifest.members(split="train")


BAD_RAW = {
    "missing": (lambda raw: shutil.rmtree(raw), "not found"),
    "a file": (lambda raw: (shutil.rmtree(raw), raw.write_text("x")), "not found"),
    "without segmentations": (lambda raw: shutil.rmtree(raw / "segmentations"), "segmentations"),
    "bad patients.csv": (lambda raw: (raw / "patients.csv").write_text("id,person\n1,2\n"), "id,person"),
}


@pytest.mark.parametrize(("spoil", "words"), BAD_RAW.values(), ids=BAD_RAW)
def test_a_raw_folder_that_can_t_be_used_is_one_line_and_exit_2(raw, tmp_path, capsys, spoil, words):
    spoil(raw)
    assert main(["--raw", str(raw), "--output", str(tmp_path / "prepared")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line and "expected" in line
    assert not (tmp_path / "prepared").exists()


def test_files_are_compressed_without_a_time_stamp(prepared):
    folder, manifest = prepared
    content = image_path(folder, manifest.cases[0]).read_bytes()
    assert content[4:8] == bytes(4)
    assert len(gzip.decompress(content)) > 352


def test_the_same_data_elsewhere_give_the_same_bytes(prepared, many, tmp_path):
    folder, _ = prepared
    moved = tmp_path / "another" / "place"
    shutil.copytree(many, moved)
    prepare_dataset(raw=moved, output=tmp_path / "from-there", choices=CHOICES)
    assert hashes(folder) == hashes(tmp_path / "from-there")


def test_raw_data_are_only_read(many, tmp_path):
    before = hashes(many)
    for path in many.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES)
    assert hashes(many) == before


def test_cases_set_aside_are_left_out_with_the_reason_and_do_not_count_as_rejects(many, tmp_path):
    aside = tmp_path / "set_aside.yaml"
    aside.write_text("\n".join(f"case_{number:02d}: T9 and T10 are swapped" for number in range(9)) + "\n")
    choices = Choices(seed=1, test_share=0.3, set_aside=aside, rejects_allowed=0.0)
    manifest = prepare_dataset(raw=many, output=tmp_path / "prepared", choices=choices)
    assert len(manifest.cases) == 7 and len(manifest.quarantined) == 9
    told = {finding.message for row in manifest.quarantine for finding in row.findings if finding.check == "set-aside"}
    assert told == {"T9 and T10 are swapped"}


def test_a_locked_case_under_another_name_stays_on_its_side(many, tmp_path):
    folder = tmp_path / "prepared"
    before = prepare_dataset(raw=many, output=folder, choices=CHOICES)
    table = (many / "patients.csv").read_text()
    for case in before.members(split="test"):
        for kind in ("volumes", "segmentations"):
            (many / kind / f"{case.case}.nii.gz").rename(many / kind / f"renamed_{case.case}.nii.gz")
        table = table.replace(f"{case.case},", f"renamed_{case.case},someone_else_")
    (many / "patients.csv").write_text(table)
    after = {case.voxels_sha256: case.split for case in prepare_dataset(raw=many, output=folder, choices=CHOICES).cases}
    assert after == {case.voxels_sha256: case.split for case in before.cases}


def test_a_case_without_a_row_in_the_table_of_patients_is_warned_about(many, tmp_path):
    table = (many / "patients.csv").read_text().replace("case_03,", "case_3,")
    (many / "patients.csv").write_text(table)
    manifest = prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES)
    warned = [found.case for found in manifest.findings if found.check == "known-patient"]
    assert warned == ["case_03"]


def test_folds_that_no_case_validates_are_named(raw, tmp_path):
    manifest = prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices())
    assert len(manifest.members(split="train")) == 2 and len(manifest.empty_folds) == 3
    assert "No case validates fold" in (tmp_path / "prepared.report" / "index.html").read_text()


def test_a_pipe_among_the_volumes_is_refused_not_waited_for(many, tmp_path):
    (many / "volumes" / "case_03.nii.gz").unlink()
    os.mkfifo(many / "volumes" / "case_03.nii.gz")
    manifest = prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES)
    assert manifest.quarantined == ("case_03",)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_no_near_duplicate_is_on_two_sides_of_any_split(many, tmp_path, seed):
    import nibabel

    for number in range(8):
        for kind in ("volumes", "segmentations"):
            source = nibabel.load(many / kind / f"case_{2 * number:02d}.nii.gz")
            array = np.asarray(source.dataobj)
            if kind == "volumes":
                array = array + np.random.default_rng(number).integers(-15, 16, array.shape, dtype=np.int16)
            copy = nibabel.Nifti1Image(array, source.affine, dtype=array.dtype)
            nibabel.save(copy, many / kind / f"copy_{number:02d}.nii.gz")
    choices = Choices(seed=seed, test_share=0.3)
    manifest = prepare_dataset(raw=many, output=tmp_path / "prepared", choices=choices)
    place = {case.case: (case.split, case.fold) for case in manifest.cases}
    assert len(place) == 24
    assert all(place[f"copy_{number:02d}"] == place[f"case_{2 * number:02d}"] for number in range(8))
    told = {finding.case for finding in manifest.findings if finding.check == "near-duplicate"}
    assert {f"copy_{number:02d}" for number in range(8)} <= told
