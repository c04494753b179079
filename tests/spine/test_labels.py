"""Labels: the 25 vertebrae with the ids, names and codes of DOMAIN.md's table."""

import pytest

from spine.labels import IDS, MAX_LABEL, NAMES, REGIONS, VERTEBRAE, region_of

# DOMAIN.md, "The task": ids, vertebrae, SNOMED CT codes in order.
TABLE = [
    (1, "C", 7, "14806007, 39976000, 113205007, 5329002, 36978003, 36054005, 87391001"),
    (8, "T", 12, "64864005, 53733008, 1626008, 73071006, 56401006, 45296009, 62487009, 11068009, 82687006, 7610001, "
                 "12989004, 23215003"),
    (20, "L", 5, "66794005, 14293000, 36470004, 11994002, 49668003"),
    (25, "S", 1, "65985001"),
]  # fmt: skip
EXPECTED = [
    (first + place, f"{letter}{place + 1}", codes.split(", ")[place])
    for first, letter, count, codes in TABLE
    for place in range(count)
]


def test_vertebrae_have_the_ids_names_and_codes_of_the_table() -> None:
    assert [(vertebra.id, vertebra.name, vertebra.snomed) for vertebra in VERTEBRAE] == EXPECTED


def test_there_are_25_ids_from_1_and_codes_are_unique() -> None:
    assert [vertebra.id for vertebra in VERTEBRAE] == list(range(1, MAX_LABEL + 1))
    assert MAX_LABEL == 25
    assert len({vertebra.snomed for vertebra in VERTEBRAE}) == 25


def test_names_and_ids_are_each_others_inverse() -> None:
    assert {name: number for number, name in NAMES.items()} == IDS


def test_regions_part_the_labels_without_gap_or_overlap() -> None:
    assert [label for labels in REGIONS.values() for label in labels] == list(range(1, 26))


@pytest.mark.parametrize("region", REGIONS)
def test_a_regions_name_says_its_first_and_last_vertebra(region: str) -> None:
    labels = REGIONS[region]
    ends = (NAMES[labels[0]], NAMES[labels[-1]])
    assert region == ("-".join(ends) if len(labels) > 1 else ends[0])
    assert {region_of(label) for label in labels} == {region}


@pytest.mark.parametrize("label", [0, 26, -1])
def test_a_foreign_label_has_no_region(label: int) -> None:
    with pytest.raises(StopIteration):
        region_of(label)
