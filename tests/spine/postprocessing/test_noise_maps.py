"""Maps that are no spine's, as an untrained network makes them, are given up early and come back as they are."""

import numpy as np
import pytest

from spine.postprocessing import centre_line, fragments, instances
from spine.postprocessing.centre_line import CentreLine
from spine.postprocessing.decoding import decode
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import Evidence, vote_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

SETTINGS = DecodingSettings()


def volume(array, *, spacing_mm=3.0):
    return Volume(array=array, grid=Grid.of(array.shape, np.diag([spacing_mm] * 3 + [1.0])))


def noise(*, edge=40):
    return np.random.default_rng(0).integers(0, 26, size=(edge,) * 3, dtype=np.uint8)


def blocks(*, names=25):
    """12^3 blocks apart from each other, each large enough to be a vertebra."""
    array = np.zeros((72,) * 3, dtype=np.uint8)
    corners = [(i, j, k) for i in range(0, 72, 6) for j in range(0, 72, 6) for k in range(0, 72, 6)]
    for number, (i, j, k) in enumerate(corners):
        array[i : i + 4, j : j + 4, k : k + 4] = 1 + number % names
    return array


def give_up(*_, **__):
    pytest.fail("a map that is no spine's was looked at any further")


@pytest.mark.parametrize("array", [noise(), blocks()], ids=["more pieces", "more large pieces"])
def test_a_map_of_more_pieces_than_a_spine_has_comes_back_as_it_is(array, monkeypatch):
    for module, name in ((fragments, "_contacts_mm2"), (fragments, "_cut_fused"), (instances, "group_pieces")):
        monkeypatch.setattr(module, name, give_up)
    decoded = decode(volume(array), settings=SETTINGS)
    assert np.array_equal(decoded.labels.array, array)
    assert [vertebra.label for vertebra in decoded.vertebrae] == list(range(1, 26))
    assert all(vertebra.flags == ("not decoded",) and vertebra.margin == 0 for vertebra in decoded.vertebrae)
    assert all(vertebra.was == vertebra.label for vertebra in decoded.vertebrae)
    centre = np.argwhere(array == 7).mean(axis=0) * 3.0
    assert np.allclose(decoded.vertebrae[6].centroid_mm, centre, atol=0.01)


@pytest.mark.parametrize(("limit", "at_most"), [("MOST_CHANGES", 1000), ("MOST_VOXELS", 1000)])
def test_a_map_with_too_much_bone_or_too_many_changes_is_not_even_taken_apart(limit, at_most, monkeypatch):
    monkeypatch.setattr(fragments, limit, at_most)
    monkeypatch.setattr(fragments, "_described", give_up)
    found = find_instances(volume(noise(edge=20)))
    assert found.is_hopeless
    assert found.items == ()
    assert len(found.voxels) == 0


def test_no_more_bone_is_cut_in_two_than_may_be(plant, monkeypatch):
    bridged = plant.renamed(plant.spine(patient=8), {10: 11}).prediction
    array = bridged.array.copy()
    lower, upper = (np.argwhere(array == 11)[:, 2].min(), np.argwhere(array == 11)[:, 2].max())
    middle = np.argwhere(array == 11).mean(axis=0).astype(int)
    array[middle[0] - 1 : middle[0] + 2, middle[1] + 3 : middle[1] + 5, lower + 5 : upper - 5] = 11
    fused = volume(array)
    cut = len(find_instances(fused).items)
    monkeypatch.setattr(fragments, "MOST_CUT_VOXELS", 10)
    assert len(find_instances(fused).items) < cut


def test_evidence_of_a_noisy_map_is_kept_and_taken(plant):
    labels = volume(noise())
    found = find_instances(labels)
    stored = Evidence.of(labels, vote_evidence(found), instances=found)
    assert stored.rows == ()
    assert decode(labels, settings=SETTINGS, evidence=stored).vertebrae[0].flags == ("not decoded",)


def test_a_spine_with_crumbs_all_over_is_decoded(plant):
    fault = plant.renamed(plant.spine(patient=20), {12: 13})
    array = fault.prediction.array.copy()
    random = np.random.default_rng(1)
    crumbs = (random.random(array.shape) < 0.001) & (array == 0)
    array[crumbs] = random.integers(8, 22, np.count_nonzero(crumbs))
    decoded = decode(Volume(array=array, grid=fault.prediction.grid), settings=SETTINGS)
    whole = fault.reference.array == 12
    assert (decoded.labels.array[whole] == 12).mean() > 0.95
    assert not any("not decoded" in vertebra.flags for vertebra in decoded.vertebrae)


def test_a_line_in_the_wrong_unit_has_no_more_samples_than_a_long_spine():
    points = np.column_stack([np.zeros(9), np.zeros(9), np.linspace(0, 1e6, 9)])
    line = CentreLine.through(points, weights=np.ones(9))
    assert len(line.samples_mm) <= centre_line.MOST_STEPS + 2
