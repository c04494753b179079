"""Names in pictures stand on their bone and can be read one by one."""

from itertools import combinations

import numpy as np

from spine.drawing.names import Name, placed


def _shape(*blocks: tuple[slice, slice]) -> np.ndarray:
    shape = np.zeros((120, 160), dtype=bool)
    for block in blocks:
        shape[block] = True
    return shape


def test_a_name_stands_on_the_largest_part_not_between_the_parts() -> None:
    body, process = (slice(40, 70), slice(20, 60)), (slice(50, 60), slice(120, 150))
    (name,) = placed([("L1", _shape(body, process))])
    assert abs(name.column - 39.5) <= 1 and abs(name.row - 54.5) <= 1


def test_two_vertebrae_of_one_name_are_both_named() -> None:
    upper, lower = (slice(4, 24), slice(20, 60)), (slice(90, 115), slice(20, 60))
    names = placed([("S1", _shape(upper, lower))])
    assert [name.text for name in names] == ["S1", "S1"]
    assert {round(name.row) // 60 for name in names} == {0, 1}


def test_a_name_stands_on_bone_where_the_centre_of_the_bone_is_a_hole() -> None:
    arch = _shape((slice(20, 100), slice(20, 120)))
    arch[35:85, 35:105] = False
    (name,) = placed([("C2", arch)])
    assert arch[round(name.row), round(name.column)]


def test_names_of_neighbours_do_not_run_into_one_another() -> None:
    left, right = _shape((slice(50, 90), slice(40, 56))), _shape((slice(50, 90), slice(56, 72)))
    first, second = placed([("L1", left), ("L2", right)])
    assert not first.meets(second)
    assert left[round(first.row), round(first.column)] and right[round(second.row), round(second.column)]


def test_what_has_no_room_of_its_own_is_left_out() -> None:
    crowd = [(f"T{number}", _shape((slice(4 * number, 4 * number + 4), slice(60, 70)))) for number in range(1, 13)]
    names = placed(crowd)
    assert 2 <= len(names) < len(crowd)
    assert not any(first.meets(second) for first, second in combinations(names, 2))


def test_names_stay_inside_the_picture_and_specks_have_none() -> None:
    corner = np.zeros((60, 80), dtype=bool)
    corner[:8, -8:] = True
    (name,) = placed([("T12→S1", corner), ("L1", corner & (np.indices(corner.shape)[0] < 2))])
    assert name.column + 6 * 8.2 / 2 <= 80 and name.row >= 7


def test_texts_meet_where_they_overlap_only() -> None:
    assert Name("L1", 50, 50).meets(Name("L2", 60, 50))
    assert not Name("L1", 50, 50).meets(Name("L2", 70, 50))
    assert not Name("L1", 50, 50).meets(Name("L2", 50, 64))
