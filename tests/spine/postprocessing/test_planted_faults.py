"""Decoding mends planted faults: names are right where they were wrong, and bone is where it was."""

import numpy as np
import pytest

from spine.metrics.scans import score_scan
from spine.postprocessing.decoding import decode
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import sampled_evidence
from spine.postprocessing.naming import DecodingSettings

SETTINGS = DecodingSettings()


def scored(fault, volume):
    return score_scan(case="planted", patient=None, reference=fault.reference, prediction=volume)


def mended(fault, *, softmax=None):
    found = find_instances(fault.prediction)
    evidence = None if softmax is None else sampled_evidence(found, softmax)
    decoded = decode(fault.prediction, settings=SETTINGS, evidence=evidence, instances=found)
    assert np.array_equal(decoded.labels.array > 0, fault.reference.array > 0)
    return scored(fault, decoded.labels)


@pytest.mark.parametrize("by", [-2, -1, 1, 2])
@pytest.mark.parametrize("label", [12, 17])
def test_one_misnamed_vertebra_is_mended(plant, label, by):
    fault = plant.renamed(plant.spine(patient=20), {label: label + by})
    assert not scored(fault, fault.prediction).all_correct
    after = mended(fault)
    assert after.all_correct
    assert after.mean_dice > 0.97


@pytest.mark.parametrize("label", [11, 14, 18])
def test_two_swapped_vertebrae_are_mended(plant, label):
    fault = plant.swapped(plant.spine(patient=21), label=label)
    assert not scored(fault, fault.prediction).all_correct
    assert mended(fault).mean_dice == 1.0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", [13, 15])
def test_a_split_vertebra_is_mended(plant, name, axis):
    fault = plant.split(plant.spine(patient=22), label=14, name=name, axis=axis)
    before = scored(fault, fault.prediction)
    assert before.mean_dice < 0.98
    assert mended(fault).mean_dice > 0.98


@pytest.mark.parametrize("by", [-1, 1])
def test_a_block_shifted_by_one_is_mended_where_the_network_was_of_two_minds(plant, by):
    spine, block = plant.spine(patient=23), range(13, 17)
    fault = plant.renamed(spine, {label: label + by for label in block})
    softmax = plant.softmax(spine, {label: {label + by: 0.5, label: 0.4, label - by: 0.1} for label in block})
    assert not scored(fault, fault.prediction).all_correct
    after = mended(fault, softmax=softmax)
    assert after.all_correct
    assert after.mean_dice > 0.97


def test_a_block_shifted_by_one_with_certainty_is_left_and_flagged(plant):
    fault = plant.renamed(plant.spine(patient=23), {label: label + 1 for label in range(12, 18)})
    decoded = decode(fault.prediction, settings=SETTINGS)
    flags = {flag for vertebra in decoded.vertebrae for flag in vertebra.flags}
    assert {"repeated level", "skipped level"} <= flags
