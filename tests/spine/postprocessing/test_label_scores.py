"""Evidence is what the voxels or the softmax say, and knows the mask that it was made of."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spine.errors import DigestMismatchError, InvalidValueError
from spine.postprocessing.decoding import decode
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import Evidence, mask_digest, sampled_evidence, vote_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.storage import strict_json
from spine.volume.nifti import Volume


@pytest.fixture(scope="module")
def labels(plant):
    return plant.spine(patient=3, first=12, last=18)


def test_votes_are_shares_of_voxels(plant, labels):
    fault = plant.split(labels, label=15, name=16, axis=2)
    found = find_instances(fault.prediction)
    votes = vote_evidence(found)
    assert np.allclose(votes.sum(axis=1), 1.0)
    (row,) = [row for row in votes if row[14] > 0.4]
    inside = fault.prediction.array[fault.reference.array == 15]
    assert row[15] == pytest.approx((inside == 16).mean(), abs=0.05)


def test_samples_give_the_mean_softmax_without_the_background(plant, labels):
    found = find_instances(labels)
    matrix = sampled_evidence(found, plant.softmax(labels, {15: {15: 0.7, 14: 0.3}}))
    place = [item.label for item in found.items].index(15)
    assert matrix[place, 14] == pytest.approx(0.7)
    assert matrix[place, 13] == pytest.approx(0.3)
    assert np.allclose(matrix.sum(axis=1), 1.0)


def test_at_most_500_voxels_of_each_vertebra_are_asked_for_and_always_the_same(plant, labels):
    asked = []

    def probabilities(indices):
        asked.append(indices)
        return plant.softmax(labels, {})(indices)

    found = find_instances(labels)
    for _ in range(2):
        sampled_evidence(found, probabilities)
    counts = np.bincount(labels.array[tuple(asked[0].T)], minlength=26)[1:]
    sizes = np.bincount(labels.array.ravel(), minlength=26)[1:]
    assert np.array_equal(counts, np.minimum(sizes, 500))
    assert np.array_equal(asked[0], asked[1])


def test_stored_evidence_comes_back_and_is_strict_json(plant, labels):
    found = find_instances(labels)
    matrix = sampled_evidence(found, plant.softmax(labels, {14: {14: 0.6, 15: 0.4}}))
    text = strict_json(Evidence.of(labels, matrix, instances=found).model_dump(mode="json"))
    again = Evidence.from_json(text, where="evidence.json")
    assert np.allclose(again.matrix(labels, instances=found), matrix, atol=1e-5)
    assert json.loads(text)["mask"] == mask_digest(labels)


def test_evidence_of_another_mask_is_refused(labels):
    found = find_instances(labels)
    stored = Evidence.of(labels, vote_evidence(found), instances=found)
    changed = labels.array.copy()
    changed[tuple(np.argwhere(changed == 15)[0])] = 16
    with pytest.raises(DigestMismatchError, match="stored evidence"):
        decode(Volume(array=changed, grid=labels.grid), settings=DecodingSettings(), evidence=stored)


def test_evidence_for_vertebrae_found_otherwise_is_refused(labels):
    found = find_instances(labels)
    stored = Evidence.of(labels, vote_evidence(found), instances=found)
    last = len(found.items) - 1
    upside_down = replace(found, owners=np.where(found.owners < 0, -1, last - found.owners), items=found.items[::-1])
    joined = replace(found, owners=np.minimum(found.owners, last - 1), items=found.items[:-1])
    for otherwise in (upside_down, joined):
        with pytest.raises(DigestMismatchError, match="vertebrae of the stored evidence"):
            decode(labels, settings=DecodingSettings(), evidence=stored, instances=otherwise)


def test_evidence_whose_rows_changed_places_is_refused(labels):
    found = find_instances(labels)
    stored = Evidence.of(labels, vote_evidence(found), instances=found)
    rolled = stored.model_copy(update={"rows": stored.rows[1:] + stored.rows[:1]})
    with pytest.raises(DigestMismatchError, match="rows of the stored evidence"):
        decode(labels, settings=DecodingSettings(), evidence=rolled)


@pytest.mark.parametrize("shape", [(3, 25), (0, 25), (7, 26)])
def test_evidence_of_another_shape_is_refused(labels, shape):
    with pytest.raises(InvalidValueError, match="shape of the evidence"):
        decode(labels, settings=DecodingSettings(), evidence=np.full(shape, 0.04))


def test_evidence_that_is_no_share_is_refused(labels):
    matrix = vote_evidence(find_instances(labels))
    matrix[0, 0] = np.nan
    with pytest.raises(InvalidValueError, match="NaN"):
        decode(labels, settings=DecodingSettings(), evidence=matrix)


def test_a_mask_digest_is_of_the_voxels_not_their_memory_order(labels):
    column_major = Volume(array=np.asfortranarray(labels.array), grid=labels.grid)
    assert mask_digest(column_major) == mask_digest(labels)
    shifted = Volume(array=np.roll(labels.array, 1, axis=0), grid=labels.grid)
    assert mask_digest(shifted) != mask_digest(labels)


def test_a_network_that_answers_in_another_shape_is_refused(labels):
    with pytest.raises(InvalidValueError, match="shape of the probabilities"):
        sampled_evidence(find_instances(labels), lambda indices: np.zeros((len(indices), 25), dtype=np.float32))
