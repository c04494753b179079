"""Cases are found by name, never by position; what the folder or patients.csv leaves unclear is refused."""

import pytest

from components.prepare_dataset.layout import find_cases
from spine.errors import MalformedFileError, MissingPathError


@pytest.fixture
def folder(tmp_path):
    """A function that makes a raw folder of empty files."""

    def make(volumes, segmentations):
        for name, files in (("volumes", volumes), ("segmentations", segmentations)):
            (tmp_path / name).mkdir()
            for file in files:
                (tmp_path / name / file).touch()
        return tmp_path

    return make


def test_volumes_and_masks_are_paired_by_name_where_one_is_missing(folder):
    raw = folder(["a.nii.gz", "c.nii", "d.nii.gz"], ["a.nii.gz", "b.nii.gz", "c.nii.gz"])
    found = {case.case: (case.image and case.image.name, case.labels and case.labels.name) for case in find_cases(raw)}
    assert found == {
        "a": ("a.nii.gz", "a.nii.gz"),
        "b": (None, "b.nii.gz"),
        "c": ("c.nii", "c.nii.gz"),
        "d": ("d.nii.gz", None),
    }


def test_hidden_and_foreign_files_are_not_cases(folder):
    raw = folder(["a.nii.gz", "._a.nii.gz", ".DS_Store", "notes.txt"], ["a.nii.gz", ".partial-x-a.nii.gz"])
    assert [(case.case, case.duplicates) for case in find_cases(raw)] == [("a", ())]


def test_a_name_with_dots_is_kept_whole(folder):
    assert [case.case for case in find_cases(folder(["1.2.840.5.nii.gz"], ["1.2.840.5.nii"]))] == ["1.2.840.5"]


def test_every_further_file_of_a_case_is_a_duplicate(folder):
    (case,) = find_cases(folder(["a.nii", "a.nii.gz"], ["a.nii", "a.nii.gz"]))
    assert [path.name for path in case.duplicates] == ["a.nii.gz", "a.nii.gz"]


@pytest.mark.parametrize("missing", ["", "volumes", "segmentations"])
def test_a_missing_folder_is_named_with_the_layout_that_is_expected(folder, missing):
    raw = folder(["a.nii.gz"], ["a.nii.gz"])
    if missing:
        (raw / missing / "a.nii.gz").unlink()
        (raw / missing).rmdir()
    wanted = raw / missing if missing else raw / "elsewhere"
    with pytest.raises(MissingPathError, match=r"expected a folder with volumes/ and segmentations/") as refused:
        find_cases(raw if missing else wanted)
    assert str(refused.value).startswith(f"{wanted}: ")


def test_a_folder_without_volumes_is_refused(folder):
    with pytest.raises(MissingPathError, match="at least one"):
        find_cases(folder(["readme.txt"], ["a.nii.gz"]))


def test_patients_come_from_the_table_and_a_case_it_leaves_out_is_its_own(folder):
    raw = folder(["a.nii.gz", "b.nii.gz", "c.nii.gz"], [])
    (raw / "patients.csv").write_text("patient,case,note\np1,a,x\np1,b,\n,c,\n")
    assert {case.case: case.patient for case in find_cases(raw)} == {"a": "p1", "b": "p1", "c": "c"}


def test_a_table_that_a_spreadsheet_saved_with_a_byte_order_mark_is_read(folder):
    raw = folder(["a.nii.gz"], [])
    (raw / "patients.csv").write_text("case,patient\na,p1\n", encoding="utf-8-sig")
    assert find_cases(raw)[0].patient == "p1"


BAD_TABLES = {
    "other header": (b"id,person\na,p1\n", "id,person"),
    "other header without rows": (b"id,person\n", "id,person"),
    "other header and longer rows": (b"id\na,p1,more\n", "id"),
    "semicolons": (b"case;patient\na;p1\n", "case;patient"),
    "nothing in it": (b"", "header"),
    "not UTF-8": (b"case,patient\na,M\xfcller\n", "can't be read"),
    "two patients for a case": (b"case,patient\na,p1\na,p2\n", "'p1' and 'p2'"),
    "names of files, not of cases": (b"case,patient\na.nii.gz,p1\nb.nii.gz,p1\n", "a.nii.gz"),
}


@pytest.mark.parametrize(("content", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_of_patients_that_could_mix_them_up_is_refused(folder, content, words):
    raw = folder(["a.nii.gz", "b.nii.gz"], [])
    (raw / "patients.csv").write_bytes(content)
    with pytest.raises(MalformedFileError, match="expected") as refused:
        find_cases(raw)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
