"""Suspects: whole vertebrae that reference and prediction name differently, and nothing less."""

import json

import numpy as np
import pytest

from spine.errors import MissingPathError
from spine.labels import IDS
from spine.metrics.label_issues import LIST_FILE, SUSPECTS_FOLDER, SuspectList, suspect

L1, L2, L3, L4 = (IDS[name] for name in ("L1", "L2", "L3", "L4"))


def judged(pairs, *, voxel_mm3=3.375):
    """Judge joint counts given as {(reference, prediction): voxels}."""
    counts = np.zeros((26, 26), dtype=np.int64)
    for (reference, predicted), voxels in pairs.items():
        counts[reference, predicted] = voxels
    return suspect(case="a", patient="p", counts=counts, voxel_mm3=voxel_mm3)


def test_the_right_names_are_no_suspect_even_where_bone_was_missed():
    assert judged({(L1, L1): 4000, (L1, 0): 900, (L2, L2): 4000, (L2, L3): 1500}) is None


def test_a_spine_named_one_level_too_low_is_told_with_its_shift():
    found = judged({(L1, L2): 4000, (L2, L3): 4000, (L3, L4): 4000})
    assert (found.vertebrae, found.misnamed, found.shift) == (3, 3, 1)
    assert found.message == "L1→L2, L2→L3, L3→L4"


def test_a_swap_of_two_levels_has_no_single_shift():
    found = judged({(L1, L1): 4000, (L2, L3): 4000, (L3, L2): 4000})
    assert (found.vertebrae, found.misnamed, found.shift) == (3, 2, None)


@pytest.mark.parametrize(
    "pairs",
    [
        {(L1, L1): 4000, (L2, L3): 400},  # a fragment
        {(L1, L1): 4000, (L2, L3): 1900, (L2, 0): 2100},  # most of the bone was missed
        {(L1, L1): 4000, (L2, L2): 1500, (L2, L3): 1700, (L2, L1): 800},  # no name has more than half
    ],
)
def test_less_than_a_whole_level_is_no_suspect(pairs):
    assert judged(pairs) is None


def test_the_limit_of_a_fragment_is_one_of_volume():
    assert judged({(L2, L3): 400}, voxel_mm3=27.0).misnamed == 1


def test_the_newest_list_is_found_and_a_missing_one_told(tmp_path):
    with pytest.raises(MissingPathError, match="an evaluated candidate"):
        SuspectList.newest(tmp_path)
    for number, name in enumerate(("old", "new")):
        folder = tmp_path / "evaluations" / name / SUSPECTS_FOLDER
        folder.mkdir(parents=True)
        (folder / LIST_FILE).write_text(json.dumps({"name": name, "cases": number, "suspects": []}))
    found = SuspectList.newest(tmp_path)
    assert (found.name, found.cases) == ("new", 1)
    assert found.page == str(tmp_path / "evaluations" / "new" / SUSPECTS_FOLDER / "index.html")
