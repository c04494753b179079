"""Each flag is raised by the fault that it is defined for, planted into a phantom, and not by the phantom itself."""

import numpy as np
import pytest

from spine.postprocessing.choice import NOTHING, apply
from spine.postprocessing.decoding import decode
from spine.postprocessing.flags import DEFINITIONS, FLAGS
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import sampled_evidence, vote_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

HARMLESS = {"cut at the border"}


def told(volume, *, softmax=None, settings=None):
    """Flags by place in the row, as (label, flags)."""
    found = find_instances(volume)
    evidence = vote_evidence(found) if softmax is None else sampled_evidence(found, softmax)
    if settings is not None:
        done = decode(volume, settings=settings, evidence=evidence, instances=found)
    else:
        done = apply(volume, postprocessing=NOTHING, evidence=evidence, instances=found)
    return [(named.label, set(named.flags)) for named in done.vertebrae]


def bearers(flag, rows):
    return [label for label, flags in rows if flag in flags]


@pytest.fixture(scope="module")
def spine(plant):
    return plant.spine(patient=20)


def test_every_flag_is_defined_in_one_sentence_and_named_once():
    assert len(set(FLAGS)) == len(FLAGS)
    assert all(meaning[0].isupper() and meaning.endswith(".") for meaning in DEFINITIONS.values())
    assert all("\n" not in meaning and ". " not in meaning for meaning in DEFINITIONS.values())


def test_a_right_map_raises_nothing_but_what_the_border_cuts(spine):
    assert set().union(*(flags for _, flags in told(spine))) <= HARMLESS


def test_a_doubled_level_is_a_repeated_level_on_both(spine, plant):
    rows = told(plant.renamed(spine, {14: 13}).prediction)
    assert bearers("repeated level", rows) == [13, 13]


def test_a_level_that_is_left_out_is_a_skipped_level_on_the_next(spine):
    array = np.where(spine.array == 15, 0, spine.array).astype(np.uint8)
    assert bearers("skipped level", told(Volume(array=array, grid=spine.grid))) == [16]
    assert bearers("skipped level", told(spine)) == []


def test_two_swapped_levels_are_out_of_order(spine, plant):
    rows = told(plant.swapped(spine, label=14).prediction)
    assert bearers("out of order", rows) == [15, 14]
    assert all(label in (14, 15) for label in bearers("repeated level", rows))


def test_levels_in_order_with_gaps_and_doubles_are_not_out_of_order(spine, plant):
    assert bearers("out of order", told(plant.renamed(spine, {13: 12, 16: 17}).prediction)) == []


def test_a_run_off_its_neighbours_has_likelier_names(spine, plant):
    block = range(13, 17)
    fault = plant.renamed(spine, {label: label + 1 for label in block})
    unsure = plant.softmax(spine, {label: {label + 1: 0.5, label: 0.4, label - 1: 0.1} for label in block})
    assert bearers("another name likelier", told(fault.prediction, softmax=unsure)) == [14, 15, 16, 17]
    assert bearers("another name likelier", told(spine, softmax=unsure)) == []


def test_a_whole_spine_on_weak_evidence_has_low_margins(spine, plant):
    labels = [label for label in range(1, 26) if (spine.array == label).any()]
    weak = plant.softmax(spine, {label: {label: 0.5, label + 1: 0.45, label - 1: 0.05} for label in labels})
    assert bearers("low margin", told(spine, softmax=weak)) == labels
    assert bearers("low margin", told(spine)) == []


def test_what_reaches_a_face_of_the_scan_is_cut(spine):
    middle = int(np.argwhere(spine.array == 14)[:, 2].mean())
    matrix = spine.grid.matrix.copy()
    matrix[:3, 3] += middle * matrix[:3, 2]
    array = np.ascontiguousarray(spine.array[..., middle:])
    cut = bearers("cut at the border", told(Volume(array=array, grid=Grid.of(array.shape, matrix))))
    assert 14 in cut
    assert not {10, 11, 12} & set(cut)


def test_half_a_vertebra_and_two_in_one_have_an_implausible_volume(spine):
    inside = np.argwhere(spine.array == 15)
    far = np.argsort(np.linalg.norm(inside - inside.mean(axis=0), axis=1))[int(0.45 * len(inside)) :]
    array = spine.array.copy()
    array[tuple(inside[far].T)] = 0
    assert bearers("implausible volume", told(Volume(array=array, grid=spine.grid))) == [15]
    assert bearers("implausible volume", told(spine)) == []


def test_a_name_that_was_changed_is_told_and_one_that_was_not_is_not(spine, plant):
    fault = plant.renamed(spine, {14: 13})
    assert bearers("renamed", told(fault.prediction, settings=DecodingSettings())) == [14]
    assert bearers("renamed", told(spine, settings=DecodingSettings())) == []


def test_a_vertebra_under_two_names_is_told(spine, plant):
    rows = told(plant.split(spine, label=14, name=15, axis=2).prediction)
    assert bearers("split name", rows) == [14]
    assert bearers("split name", told(spine)) == []
