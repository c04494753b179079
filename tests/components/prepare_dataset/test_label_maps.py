"""Foreign ids become ours by an explicit map; what has no label here is counted, what is unknown refused."""

from pathlib import Path

import numpy as np
import pytest

from components.prepare_dataset.label_maps import CTSPINE1K, LABEL_MAPS, OURS, TOTALSEGMENTATOR, VERSE
from spine.errors import LabelValueError
from spine.labels import IDS, NAMES

PATH = Path("mask.nii.gz")


def test_every_map_names_each_of_our_vertebrae_at_most_once_and_none_twice():
    for known in LABEL_MAPS.values():
        assert len(set(known.ids.values())) == len(known.ids)
        assert not known.ids.keys() & known.unnamed.keys() and 0 not in known.ids


def test_totalsegmentators_own_ids_run_upwards_from_s1_to_c1():
    wanted = {26: "S1", 27: "L5", 31: "L1", 32: "T12", 43: "T1", 44: "C7", 50: "C1"}
    assert {theirs: NAMES[TOTALSEGMENTATOR.ids[theirs]] for theirs in wanted} == wanted
    array = np.array([0, 1, 25, 27, 50, 117], dtype=np.uint8)
    ours, left_out = TOTALSEGMENTATOR.apply(array, path=PATH)
    assert ours.tolist() == [0, 0, 0, IDS["L5"], IDS["C1"], 0] and left_out == {}


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
def test_verse_25_is_l6_and_never_s1(kind):
    ours, left_out = VERSE.apply(np.array([0, 7, 24, 25, 25, 28], dtype=kind), path=PATH)
    assert ours.dtype == np.uint8
    assert ours.tolist() == [0, 7, 24, 0, 0, 0]
    assert left_out == {"L6": 2, "T13": 1}
    assert CTSPINE1K.apply(np.array([25], dtype=kind), path=PATH)[1] == {"L6": 1}
    assert OURS.apply(np.array([25], dtype=kind), path=PATH)[0].tolist() == [IDS["S1"]]


@pytest.mark.parametrize(
    ("label_map", "found", "expected"),
    [(OURS, 26, r"\(0, 1-25\)"), (VERSE, 29, r"\(0, 1-28\)"), (CTSPINE1K, 26, r"\(0, 1-25\)"), (OURS, -1, "1-25")],
)
def test_an_id_that_is_not_in_the_map_is_refused_with_what_was_expected(label_map, found, expected):
    with pytest.raises(
        LabelValueError, match=rf"label {found} found; expected an id of the label map .*{expected}"
    ) as told:
        label_map.apply(np.array([0, 3, found], dtype=np.int16), path=PATH)
    assert told.value.value == found


def test_a_hole_in_a_map_is_foreign_too():
    with pytest.raises(LabelValueError, match="label 3 found"):
        type(OURS)(name="few", ids={1: 20, 5: 21}).apply(np.array([1, 3, 5], dtype=np.uint8), path=PATH)


def test_fractions_are_refused_and_counted():
    with pytest.raises(LabelValueError, match="2 label values are not whole numbers") as told:
        VERSE.apply(np.array([0, 1.5, np.nan], dtype=np.float32), path=PATH)
    assert told.value.value == 2
