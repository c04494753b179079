"""Cases are found by name, never by position; a folder of no layout, or of two, is refused with what was expected."""

import json
import os
import shutil

import pytest

from components.prepare_dataset.layouts import LAYOUTS, UnknownLayoutError, find_cases
from spine.errors import InvalidValueError, MalformedFileError, MissingPathError, UnknownNameError
from spine.phantom.raw_set import write_raw_set


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


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def paired(raw, **given):
    return {
        case.case: (case.image and case.image.name, case.labels and case.labels.name)
        for case in find_cases(raw, **given).cases
    }


def test_volumes_and_masks_are_paired_by_name_where_one_is_missing(folder):
    raw = folder(["a.nii.gz", "c.nii", "d.nii.gz"], ["a.nii.gz", "b.nii.gz", "c.nii.gz"])
    assert paired(raw) == {
        "a": ("a.nii.gz", "a.nii.gz"),
        "b": (None, "b.nii.gz"),
        "c": ("c.nii", "c.nii.gz"),
        "d": ("d.nii.gz", None),
    }


def test_hidden_and_foreign_files_are_not_cases(folder):
    raw = folder(["a.nii.gz", "._a.nii.gz", ".DS_Store", "notes.txt"], ["a.nii.gz", ".partial-x-a.nii.gz"])
    assert [(case.case, case.duplicates) for case in find_cases(raw).cases] == [("a", ())]


def test_a_name_with_dots_is_kept_whole(folder):
    raw = folder(["1.2.840.5.nii.gz"], ["1.2.840.5.nii"])
    assert [case.case for case in find_cases(raw).cases] == ["1.2.840.5"]


def test_every_further_file_of_a_case_is_a_duplicate(folder):
    (case,) = find_cases(folder(["a.nii", "a.nii.gz"], ["a.nii", "a.nii.gz"])).cases
    assert [path.name for path in case.duplicates] == ["a.nii.gz", "a.nii.gz"]


@pytest.mark.parametrize("missing", ["volumes", "segmentations"])
def test_a_missing_folder_is_refused_with_what_was_found_and_the_layouts_that_are_expected(folder, missing):
    raw = folder(["a.nii.gz"], ["a.nii.gz"])
    shutil.rmtree(raw / missing)
    with pytest.raises(UnknownLayoutError, match="volumes/ and segmentations/") as refused:
        find_cases(raw)
    told = str(refused.value)
    assert told.startswith(f"{raw}: holds ") and "\n" not in told
    assert all(name in told for name in LAYOUTS)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingPathError, match="elsewhere: not found; expected a folder of raw scans"):
        find_cases(tmp_path / "elsewhere")


def test_a_folder_without_volumes_is_of_no_layout(folder):
    with pytest.raises(UnknownLayoutError, match=r"holds segmentations/, volumes/; expected"):
        find_cases(folder(["readme.txt"], ["a.nii.gz"]))


def test_an_empty_folder_is_of_no_layout(tmp_path):
    with pytest.raises(UnknownLayoutError, match="holds nothing; expected"):
        find_cases(tmp_path)


def test_an_unknown_layout_or_label_map_lists_those_there_are(folder):
    raw = folder(["a.nii.gz"], ["a.nii.gz"])
    with pytest.raises(UnknownNameError, match="unknown layout 'bids'; expected one of: ctspine1k, dicom, kaggle"):
        find_cases(raw, layout="bids")
    with pytest.raises(UnknownNameError, match="unknown label map 'kits'; expected one of: ctspine1k, ours"):
        find_cases(raw, labels="kits")


def test_a_layout_that_is_named_but_not_there_says_what_it_expects(folder):
    with pytest.raises(UnknownLayoutError, match="expected verse: rawdata/") as refused:
        find_cases(folder(["a.nii.gz"], ["a.nii.gz"]), layout="verse")
    assert "kaggle" not in str(refused.value)


def test_a_folder_of_two_layouts_is_refused_until_one_is_named(folder):
    raw = folder(["a.nii.gz"], ["a.nii.gz"])
    touch(raw / "s0001" / "ct.nii.gz")
    touch(raw / "s0001" / "segmentations" / "vertebrae_L1.nii.gz")
    with pytest.raises(UnknownLayoutError, match="is of the layouts kaggle and totalsegmentator; expected one"):
        find_cases(raw)
    assert find_cases(raw, layout="totalsegmentator").layout == "totalsegmentator"


def test_another_label_map_can_be_named(folder):
    found = find_cases(folder(["a.nii.gz"], ["a.nii.gz"]), labels="verse")
    assert (found.layout, found.label_map, found.cases[0].label_map.name) == ("kaggle", "verse", "verse")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_each_layout_is_recognised_and_every_case_found_with_its_patient(tmp_path, layout):
    written = write_raw_set(tmp_path, scans=3, seed=1, layout=layout)
    found = find_cases(tmp_path)
    assert found.layout == layout
    assert [(case.case, case.image, case.labels, case.patient) for case in found.cases] == [
        (case.case, case.image, case.labels, case.patient) for case in sorted(written, key=lambda case: case.case)
    ]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_files_of_a_case_are_all_that_it_is_made_from(tmp_path, layout):
    write_raw_set(tmp_path, scans=1, seed=1, layout=layout)
    (case,) = find_cases(tmp_path).cases
    others = {tmp_path / "patients.csv", tmp_path / "dataset.json"}
    assert set(case.files()) == {path for path in tmp_path.rglob("*") if path.is_file()} - others


def test_verse_sets_one_folder_further_down_are_read_together_with_the_subject_as_patient(tmp_path):
    for part, name in (("dataset-01training", "sub-verse004"), ("dataset-02validation", "sub-verse500_dir-ax")):
        subject = name.split("_")[0]
        touch(tmp_path / part / "rawdata" / subject / f"{name}_ct.nii.gz")
        touch(tmp_path / part / "derivatives" / subject / f"{name}_seg-vert_msk.nii.gz")
        touch(tmp_path / part / "derivatives" / subject / f"{name}_seg-subreg_ctd.json")
    found = find_cases(tmp_path).cases
    assert [(case.case, case.patient) for case in found] == [
        ("sub-verse004", "sub-verse004"),
        ("sub-verse500_dir-ax", "sub-verse500"),
    ]
    assert [case.centroids.name for case in found] == [f"{case.case}_seg-subreg_ctd.json" for case in found]
    assert all(case.labels for case in found)


def test_ctspine1k_is_found_below_rawdata_and_paired_across_its_sources(tmp_path):
    for source, name in (("COLONOG", "1.3.6.1.4.1.9328.50.4.0004"), ("MSD-T10", "liver_106")):
        touch(tmp_path / "rawdata" / "volumes" / source / f"{name}.nii.gz")
        touch(tmp_path / "rawdata" / "labels" / source / f"{name}_seg.nii.gz")
    assert paired(tmp_path) == {
        name: (f"{name}.nii.gz", f"{name}_seg.nii.gz") for name in ("1.3.6.1.4.1.9328.50.4.0004", "liver_106")
    }


@pytest.fixture
def nnunet(tmp_path):
    """A function that writes an nnU-Net raw folder of two empty cases with a dataset.json of the given content."""

    def make(**content):
        for case in ("a", "b"):
            touch(tmp_path / "imagesTr" / f"{case}_0000.nii.gz")
            touch(tmp_path / "labelsTr" / f"{case}.nii.gz")
        described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "L1": 1, "vertebrae_L2": 2}, **content}
        (tmp_path / "dataset.json").write_text(json.dumps(described))
        return tmp_path

    return make


def test_nnunet_ids_are_read_by_the_names_in_dataset_json(nnunet):
    (first, _) = find_cases(nnunet(labels={"background": 0, "L1": 1, "vertebrae_L2": 2, "L6": 3})).cases
    assert (dict(first.label_map.ids), dict(first.label_map.unnamed)) == ({1: 20, 2: 21}, {3: "L6"})


def test_nnunet_test_cases_count_where_they_have_labels(nnunet):
    raw = nnunet()
    touch(raw / "imagesTs" / "c_0000.nii.gz")
    assert set(paired(raw)) == {"a", "b"}
    touch(raw / "labelsTs" / "c.nii.gz")
    assert set(paired(raw)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": {"background": 0, "liver": 1}}, "label 'liver' is 1; expected C1"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "label 'whole'"),
        ({"labels": {"background": 0}}, "labels no vertebra"),
        ({"channel_names": {"0": "CT", "1": "PET"}}, "has 2 channels; expected one channel"),
        ({"labels": None}, "lacks channel_names or labels"),
        ({"channel_names": {"0": "MRI"}}, "has the channel {'0': 'MRI'}; expected one channel, CT"),
    ],
)
def test_a_dataset_json_that_does_not_name_vertebrae_is_refused(nnunet, content, words):
    with pytest.raises(MalformedFileError, match=r"dataset\.json: ") as refused:
        find_cases(nnunet(**content))
    assert words in str(refused.value)


def test_patients_come_from_the_table_and_a_case_it_leaves_out_is_its_own(folder):
    raw = folder(["a.nii.gz", "b.nii.gz", "c.nii.gz"], [])
    (raw / "patients.csv").write_text("patient,case,note\np1,a,x\np1,b,\n,c,\n")
    assert {case.case: case.patient for case in find_cases(raw).cases} == {"a": "p1", "b": "p1", "c": None}


def test_a_table_that_a_spreadsheet_saved_with_a_byte_order_mark_is_read(folder):
    raw = folder(["a.nii.gz"], [])
    (raw / "patients.csv").write_text("case,patient\na,p1\n", encoding="utf-8-sig")
    assert find_cases(raw).cases[0].patient == "p1"


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


def test_a_second_channel_in_nnunet_s_folder_is_refused(nnunet):
    raw = nnunet()
    touch(raw / "imagesTr" / "a_0001.nii.gz")
    with pytest.raises(MalformedFileError, match="a_0001 is a second channel; expected one, CT"):
        find_cases(raw)


def test_a_folder_beside_the_volumes_does_not_make_them_dicom(folder):
    raw = folder(["a.nii.gz"], ["a.nii.gz"])
    (raw / "volumes" / "extra").mkdir()
    assert find_cases(raw).layout == "kaggle"


def test_a_name_that_is_not_utf_8_is_refused_in_one_line(folder):
    raw = folder(["a.nii.gz"], ["a.nii.gz"])
    (raw / "volumes" / os.fsdecode(b"ca\xff\xfe.nii.gz")).touch()
    with pytest.raises(InvalidValueError, match="name of a case is .*expected printable UTF-8"):
        find_cases(raw)


def test_a_case_that_the_table_of_patients_leaves_out_is_marked(folder):
    raw = folder(["a.nii.gz", "b.nii.gz"], ["a.nii.gz", "b.nii.gz"])
    assert all(case.in_patients_table for case in find_cases(raw).cases)
    (raw / "patients.csv").write_text("case,patient\na,p1\nbb,p1\n")
    assert {case.case: case.in_patients_table for case in find_cases(raw).cases} == {"a": True, "b": False}
