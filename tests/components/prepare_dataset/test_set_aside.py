"""The file of cases that people set aside: names and reasons, and no slip of the pen goes unseen."""

import pytest

from components.prepare_dataset.set_aside import add_to_set_aside, read_set_aside
from spine.errors import MalformedFileError

CASES = ["case_1", "0012", "no"]


def test_a_case_that_is_added_is_read_again_with_its_reason(tmp_path):
    path = tmp_path / "set_aside.yaml"
    add_to_set_aside(path, case="case_1", reason="T9: named T10, see #4")
    add_to_set_aside(path, case="0012", reason="metal")
    add_to_set_aside(path, case="case_1", reason="T9 is named T10")
    assert read_set_aside(path, cases=CASES) == {"case_1": "T9 is named T10", "0012": "metal"}
    assert path.read_text().startswith("# Cases that prepare_dataset leaves out")


def test_no_file_and_an_empty_one_set_nothing_aside(tmp_path):
    path = tmp_path / "set_aside.yaml"
    assert read_set_aside(None, cases=CASES) == read_set_aside(path, cases=CASES) == {}
    path.write_text("# nothing yet\n")
    assert read_set_aside(path, cases=CASES) == {}


def test_names_that_yaml_would_take_for_something_else_stay_names(tmp_path):
    path = tmp_path / "set_aside.yaml"
    path.write_text("0012: metal\nno: empty mask\n")
    assert read_set_aside(path, cases=CASES) == {"0012": "metal", "no": "empty mask"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case_2: wrong name\n", "names 'case_2', which the raw data lack"),
        ("case_1:\n", "case 'case_1' has no reason"),
        ("case_1: [a, b]\n", "case 'case_1' has no reason"),
        ("- case_1\n", "not a mapping"),
        ("case_1: 'open\n", "not YAML"),
        ('case_1: metal\ncase_1: ""\n', "not YAML at line 2, column 1 (the key 'case_1' twice)"),
    ],
)
def test_what_would_leave_a_case_in_by_mistake_is_refused(tmp_path, text, words):
    path = tmp_path / "set_aside.yaml"
    path.write_text(text)
    with pytest.raises(MalformedFileError, match="expected") as refused:
        read_set_aside(path, cases=CASES)
    assert words in str(refused.value)
