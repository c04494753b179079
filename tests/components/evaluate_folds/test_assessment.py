"""Masks scored under several ways of post-processing: with and without, found again, and never on missing ones."""

import json

import numpy as np
import pytest

from components.evaluate_folds.assessment import FORMAT, Masks, count_components, evaluate_ways
from components.evaluate_folds.choosing import alternatives, choose_postprocessing
from components.evaluate_folds.predictions import Predictions
from spine.dataset import labels_path
from spine.errors import MalformedFileError
from spine.metrics.postprocessing_variants import read_alternatives, write_alternatives
from spine.postprocessing.choice import NOTHING, Postprocessing
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import Evidence, vote_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.storage import digest_value, write_json
from spine.volume.nifti import Volume, read_labels, write_volume

DECODING = Postprocessing(keep_largest=(), decoding=DecodingSettings())
WAYS = {"none": NOTHING, "decoding": DECODING}


def ignore(*_):
    return None


@pytest.fixture
def masks(make_cases, tmp_path):
    """Right, with L3 called L2, and without a mask."""
    dataset, cases = make_cases("right", "misnamed", "crashed", spacing=4.0)
    predictions = Predictions(tmp_path / "predictions")
    for case in cases[:2]:
        labels = read_labels(labels_path(dataset, case))
        array = labels.array.copy()
        if case.case == "misnamed":
            array[array == 22] = 21
        mask = Volume(array=array, grid=labels.grid)
        found = find_instances(mask)
        evidence = Evidence.of(mask, vote_evidence(found), instances=found)
        write_json(predictions.evidence(case.case), evidence.model_dump(mode="json"))
        write_volume(predictions.mask(case.case), mask)
    return Masks(cases=tuple(cases), dataset=dataset, predictions=predictions, workers=1)


def score(masks, tmp_path, *, ways=WAYS, finished=True):
    return evaluate_ways(
        masks, name="candidate", ways=ways, scores=tmp_path / "scores",
        finished=tmp_path / "masks" if finished else None, on_case=ignore,
    )  # fmt: skip


def test_every_way_is_scored_on_the_same_scans_and_a_missing_mask_scores_nothing_in_each(masks, tmp_path):
    found = score(masks, tmp_path)
    assert list(found) == ["none", "decoding"]
    for evaluation in found.values():
        assert [scan.case for scan in evaluation.scans] == ["right", "misnamed", "crashed"]
        assert evaluation.summary.missing_predictions == ("crashed",)
        assert evaluation.scans[2].mean_dice == 0
    assert [found[way].scans[1].all_correct for way in WAYS] == [False, True], "decoding names L3 again"
    assert found["none"].scans[0].mean_dice == found["decoding"].scans[0].mean_dice == 1


def test_the_masks_that_are_kept_are_those_of_the_last_way(masks, tmp_path):
    score(masks, tmp_path)
    reference = read_labels(labels_path(masks.dataset, masks.cases[1])).array
    kept = read_labels(tmp_path / "masks" / "misnamed.nii.gz").array
    raw = read_labels(masks.predictions.mask("misnamed")).array
    assert np.array_equal(kept > 0, raw > 0) and not (raw == 22).any()
    assert ((kept == 22) & (reference == 22)).sum() > 0.9 * (reference == 22).sum()
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["misnamed.nii.gz", "right.nii.gz"]


def test_without_renaming_it_is_told_that_another_name_is_likelier(masks, tmp_path):
    watching = Postprocessing(decoding=DecodingSettings(rename=False))
    right, misnamed, _ = score(masks, tmp_path, ways={"none": watching})["none"].scans
    doubted = [found for found in misnamed.vertebrae if "another name likelier" in found.flags]
    assert doubted and all(found.label == found.was != found.covers for found in doubted)
    assert not any("another name likelier" in found.flags for found in right.vertebrae)
    assert misnamed.labels == score(masks, tmp_path)["none"].scans[1].labels, "the mask is as it was"


def test_every_vertebra_is_told_with_what_it_was_called_and_what_it_lies_on(masks, tmp_path):
    found = score(masks, tmp_path)
    (renamed,) = [each for each in found["decoding"].scans[1].vertebrae if "renamed" in each.flags]
    assert (renamed.was, renamed.label, renamed.covers) == (21, 22, 22) and renamed.margin > 0
    assert all(each.covers == each.label for each in found["decoding"].scans[0].vertebrae)
    (misnamed,) = [each for each in found["none"].scans[1].vertebrae if each.covers != each.label]
    assert (misnamed.was, misnamed.label) == (21, 21) and "another name likelier" in misnamed.flags


def test_scores_that_are_there_are_found_again_and_damaged_ones_made_anew(masks, tmp_path):
    first = score(masks, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "scores").rglob("*.json")}
    assert len(files) == 4
    damaged = next(iter(files))
    damaged.write_text("{")
    assert score(masks, tmp_path) == first
    changed = {path for path, before in files.items() if path.stat().st_mtime_ns != before}
    assert damaged in changed and {path.stem for path in changed} == {damaged.stem}


def test_evidence_of_another_mask_is_refused_by_its_name(masks, tmp_path):
    masks.predictions.evidence("right").write_bytes(masks.predictions.evidence("misnamed").read_bytes())
    with pytest.raises(
        MalformedFileError, match=r"right\.evidence\.json: .*remove it to have the case predicted again"
    ):
        score(masks, tmp_path)


def test_a_mask_that_came_later_is_scored_then(masks, tmp_path):
    score(masks, tmp_path)
    dataset, case = masks.dataset, masks.cases[2]
    labels = read_labels(labels_path(dataset, case))
    found = find_instances(labels)
    evidence = Evidence.of(labels, vote_evidence(found), instances=found)
    write_json(masks.predictions.evidence(case.case), evidence.model_dump(mode="json"))
    write_volume(masks.predictions.mask(case.case), labels)
    assert score(masks, tmp_path)["none"].scans[2].mean_dice == 1


@pytest.mark.slow
def test_workers_change_nothing(masks, tmp_path):
    many = Masks(cases=masks.cases, dataset=masks.dataset, predictions=masks.predictions, workers=2)
    assert score(many, tmp_path / "many") == score(masks, tmp_path / "one")


def test_post_processing_is_chosen_by_what_it_mends_and_told_with_and_without(masks, tmp_path):
    chosen, ways, tried = choose_postprocessing(masks, name="c", scores=tmp_path / "scores", on_case=ignore)
    assert chosen == "decoding" and next(iter(ways)) == "none"
    final = {way: ways[way] for way in ("none", chosen)}
    told = alternatives(chosen=chosen, out_of_fold=tried, test=score(masks, tmp_path, ways=final))
    assert [(way.name, way.chosen, way.test is not None) for way in told] == [
        ("none", False, True),
        ("decoding", True, True),
    ]
    write_alternatives(tmp_path / "alternatives.json", told)
    assert read_alternatives(tmp_path / "alternatives.json") == told


def test_components_are_counted_where_there_is_a_mask(masks):
    plain, decoded = count_components(masks, ways=(NOTHING, DECODING), on_case=ignore)
    assert len(plain) == len(decoded) == 2
    assert (plain[1].plain[22] != decoded[1].plain[22]).any(), "L3 is there after decoding only"


CONTENT_OF_FORMAT = {1: "sha256:27c80b11973e75c1f1b3c86ee17cbbb7438d722d8fa463594618b1b78d54d96f"}


def test_fixed_masks_are_scored_as_their_format_says(masks, tmp_path):
    found = [
        scan.model_dump(mode="json") for way in score(masks, tmp_path, finished=True).values() for scan in way.scans
    ]
    content = digest_value(json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 6)))
    assert content == CONTENT_OF_FORMAT[FORMAT], "scored otherwise: raise FORMAT in assessment.py and note it here"
