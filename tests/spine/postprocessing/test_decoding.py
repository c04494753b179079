"""Decoding renames and never removes; right maps and real anomalies come back bit for bit."""

import numpy as np
import pytest

from spine.phantom import make_scan
from spine.postprocessing.decoding import decode
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import sampled_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

SETTINGS = DecodingSettings()
SPACINGS = [(3.0, 3.0, 3.0), (2.0, 2.0, 2.0), (1.0, 1.0, 5.0), (3.0, 2.0, 8.0), (4.0, 4.0, 4.0)]


def flags_of(decoded):
    return {vertebra.label: set(vertebra.flags) for vertebra in decoded.vertebrae}


@pytest.mark.parametrize("number", range(30))
def test_a_right_map_comes_back_bit_for_bit(number, present):
    random = np.random.default_rng(number)
    first = int(random.integers(1, 26))
    labels = make_scan(
        seed=6,
        patient=number,
        first=first,
        last=int(random.integers(first, 26)),
        spacing_mm=SPACINGS[number % len(SPACINGS)],
        orientation=("RAS", "LPS", "PIR", "IAL")[number % 4],
    ).labels
    decoded = decode(labels, settings=SETTINGS)
    assert np.array_equal(decoded.labels.array, labels.array)
    assert [vertebra.label for vertebra in decoded.vertebrae] == present(labels)
    assert not any(flags & {"renamed", "repeated level", "skipped level"} for flags in flags_of(decoded).values())


@pytest.mark.parametrize(("first", "last"), [(1, 25), (25, 25), (14, 14), (1, 1)])
def test_whole_spines_and_single_vertebrae_come_back_bit_for_bit(first, last):
    labels = make_scan(seed=6, patient=50, first=first, last=last).labels
    assert np.array_equal(decode(labels, settings=SETTINGS).labels.array, labels.array)


def test_an_empty_map_comes_back_empty():
    empty = Volume(array=np.zeros((4, 5, 6), dtype=np.uint8), grid=Grid.of((4, 5, 6), np.eye(4)))
    decoded = decode(empty, settings=SETTINGS)
    assert decoded.vertebrae == ()
    assert not decoded.labels.array.any()


@pytest.mark.parametrize("seed", range(8))
def test_bone_stays_bone_whatever_comes_in(seed, plant):
    random = np.random.default_rng(seed)
    array = plant.spine(patient=seed, first=int(random.integers(1, 20)), last=25, spacing_mm=4.0).array.copy()
    if seed % 2:
        table = np.append(0, random.integers(1, 26, 25)).astype(np.uint8)
        array = table[array]
    noise = random.random(array.shape) < 0.02
    array[noise] = random.integers(1, 26, np.count_nonzero(noise))
    volume = Volume(array=array, grid=Grid.of(array.shape, np.diag([4.0, 4.0, 4.0, 1.0])))
    before = array.copy()
    decoded = decode(volume, settings=DecodingSettings(margin=0.0))
    assert np.array_equal(decoded.labels.array > 0, before > 0)
    assert np.array_equal(array, before)
    assert decoded.labels.array.max() <= 25


def test_a_missing_t12_renames_nothing(plant):
    spine = plant.spine(patient=11, first=12, last=25)
    # The last thoracic vertebra is called T11, so the names run T10, T11, L1 without a gap between them.
    eleven_thoracic = plant.renamed(spine, {label: label - 1 for label in range(9, 20)}).prediction
    decoded = decode(eleven_thoracic, settings=SETTINGS)
    assert np.array_equal(decoded.labels.array, eleven_thoracic.array)
    assert flags_of(decoded)[20] == {"skipped level"}


@pytest.mark.parametrize("first", [12, 17, 20])
def test_a_sixth_lumbar_vertebra_renames_nothing(plant, first):
    spine = plant.spine(patient=12, first=first, last=25)
    # Physically T12-L5 are called L1-L6, and there is no label for an L6.
    six_lumbar = plant.renamed(spine, {**{label: label + 1 for label in range(9, 24)}, 24: 24}).prediction
    decoded = decode(six_lumbar, settings=SETTINGS)
    assert np.array_equal(decoded.labels.array, six_lumbar.array)
    assert [vertebra.label for vertebra in decoded.vertebrae].count(24) == 2
    assert "repeated level" in flags_of(decoded)[24]


def test_a_vertebra_that_the_network_missed_leaves_a_gap_and_no_new_names(plant):
    spine = plant.spine(patient=13)
    array = np.where(spine.array == 15, 0, spine.array).astype(np.uint8)
    decoded = decode(Volume(array=array, grid=spine.grid), settings=SETTINGS)
    assert np.array_equal(decoded.labels.array, array)
    assert "skipped level" in flags_of(decoded)[16]


@pytest.mark.parametrize(("first", "last"), [(11, 15), (8, 21)])
def test_a_whole_spine_shift_on_weak_evidence_is_flagged_and_not_renamed(plant, present, first, last):
    spine = plant.spine(patient=14, first=first, last=last)
    inner = present(spine)
    shifted = plant.renamed(spine, {label: label + 1 for label in inner}).prediction
    softmax = plant.softmax(spine, {label: {label + 1: 0.5, label: 0.45, label + 2: 0.05} for label in inner})
    found = find_instances(shifted)
    evidence = sampled_evidence(found, softmax)
    decoded = decode(shifted, settings=SETTINGS, evidence=evidence, instances=found)
    assert np.array_equal(decoded.labels.array, shifted.array)
    assert all("low margin" in vertebra.flags for vertebra in decoded.vertebrae)
    assert all(vertebra.margin < SETTINGS.margin for vertebra in decoded.vertebrae)


def test_half_of_a_swap_is_never_carried_out(plant):
    fault = plant.swapped(plant.spine(patient=15), label=14)
    careful = decode(fault.prediction, settings=DecodingSettings(margin=50.0))
    assert np.array_equal(careful.labels.array, fault.prediction.array)
    assert {"low margin"} <= flags_of(careful)[14]
    bold = decode(fault.prediction, settings=SETTINGS)
    assert np.array_equal(bold.labels.array, fault.reference.array)
    assert [(vertebra.was, vertebra.label) for vertebra in bold.vertebrae if "renamed" in vertebra.flags] == [
        (15, 14),
        (14, 15),
    ]


def test_flags_and_places_are_those_of_the_vertebra(plant):
    fault = plant.split(plant.spine(patient=16), label=14, name=15, axis=2)
    decoded = decode(fault.prediction, settings=SETTINGS)
    split = [vertebra for vertebra in decoded.vertebrae if "split name" in vertebra.flags]
    assert [vertebra.label for vertebra in split] == [14]
    centre = fault.reference.grid.millimetres(np.argwhere(fault.reference.array == 14).mean(axis=0))
    assert np.allclose(split[0].centroid_mm, centre, atol=2.0)


def test_the_same_map_gives_the_same_answer(plant):
    fault = plant.renamed(plant.spine(patient=17), {13: 14})
    first, second = (decode(fault.prediction, settings=SETTINGS) for _ in range(2))
    assert first.vertebrae == second.vertebrae
    assert np.array_equal(first.labels.array, second.labels.array)


def test_without_renaming_a_map_stays_as_it_is_and_the_likelier_name_is_told(plant):
    fault = plant.renamed(plant.spine(patient=20), {14: 13})
    watched = decode(fault.prediction, settings=DecodingSettings(rename=False))
    renamed = decode(fault.prediction, settings=DecodingSettings())
    assert np.array_equal(watched.labels.array, fault.prediction.array)
    told = [vertebra.was for vertebra in watched.vertebrae if "another name likelier" in vertebra.flags]
    assert told == [vertebra.was for vertebra in renamed.vertebrae if "renamed" in vertebra.flags] == [13]
    assert all(vertebra.margin == 0 for vertebra in watched.vertebrae if "another name likelier" in vertebra.flags)
