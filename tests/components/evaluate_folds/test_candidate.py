"""A candidate evaluated from its folds: what is owed is written, chosen on the folds, and survives an interruption."""

import shutil

import numpy as np
import pytest
import torch

from components.evaluate_folds.candidate import Candidate
from model_registry.bundle import Bundle
from model_registry.champion import candidate_evaluation
from spine.metrics.postprocessing_variants import read_alternatives
from spine.nnunet.segmentation import Segmenter
from spine.postprocessing.choice import Postprocessing
from spine.progress import followed
from spine.recipe import PredictionRecipe, load_recipe
from spine.records import (
    ALTERNATIVES_FILE,
    MASKS_FOLDER,
    OUT_OF_FOLD_FILE,
    POSTPROCESSING_FILE,
    TEST_FILE,
    FoldCheckpoint,
    Plan,
)
from spine.storage import read_json
from spine.volume.nifti import read_image, read_labels

pytestmark = pytest.mark.slow
FOLDER = "candidates/x"


@pytest.fixture
def make_candidate(bundles, make_cases, tmp_path):
    """A function that gives a candidate of two folds of random weights, its training cases by fold and its test."""

    def make(name):
        root = tmp_path / name
        bundle = Bundle(bundles[1])
        shutil.copytree(bundle.folder / "model", root / FOLDER)
        dataset, cases = make_cases("a", "b", "c")
        shutil.copytree(dataset, root / "data")
        plan = Plan(
            dataset="d", dataset_folder="data", recipe="r", plans_digest="p", configuration="3d_fullres", folder="plan"
        )
        folds = [
            FoldCheckpoint(
                plan=plan.digest, training="t", fold=fold, weights_sha256=digest, started_from=None, epochs=1,
                seconds=1.0, folder=f"{FOLDER}/fold_{fold}",
            )
            for fold, digest in sorted(bundle.manifest.folds.items())
        ]  # fmt: skip
        candidate = Candidate(
            root=root, plan=plan, recipe=load_recipe("demo"), folds=folds, folder=root / "evaluations" / "e"
        )
        return candidate, {"training": [cases[:1], cases[1:2]], "test": cases[2:]}

    return make


def test_what_is_owed_is_written_and_quoted_by_the_record(make_candidate):
    candidate, cases = make_candidate("whole")
    record = candidate.evaluate(**cases)
    test, folds = (candidate_evaluation(candidate.root, record, file=file) for file in (TEST_FILE, OUT_OF_FOLD_FILE))
    assert [scan.case for scan in folds.scans] == ["a", "b"] and [scan.case for scan in test.scans] == ["c"]
    chosen = Postprocessing.parse(
        read_json(candidate.folder / POSTPROCESSING_FILE, expected="a choice"), where="choice"
    )
    assert record.postprocessing == chosen.digest
    assert sum(way.chosen for way in read_alternatives(candidate.folder / ALTERNATIVES_FILE)) == 1
    assert {path.name for path in (candidate.folder / MASKS_FOLDER).iterdir()} == {f"{c}.nii.gz" for c in "abc"}


def test_the_test_set_is_predicted_by_all_folds_and_a_training_case_by_its_own(make_candidate):
    candidate, cases = make_candidate("whole")
    candidate.evaluate(**cases)
    for case, folds in (("a", candidate.folds[:1]), ("c", candidate.folds)):
        segmenter = Segmenter.from_model_folder(
            candidate.root / FOLDER,
            digests={fold.fold: fold.weights_sha256 for fold in folds},
            configuration="3d_fullres",
            recipe=PredictionRecipe(),
            device=torch.device("cpu"),
            threads=1,
        )
        image = read_image(candidate.root / "data" / "imagesTr" / f"{case}_0000.nii.gz")
        made = read_labels(candidate.folder / "predictions" / f"{case}.nii.gz")
        assert np.array_equal(made.array, segmenter.segment(image).array)


def test_an_interrupted_evaluation_goes_on_to_the_same_end(make_candidate):
    whole, cases = make_candidate("whole")
    expected = whole.evaluate(**cases)
    broken, cases = make_candidate("broken")
    reports = 0

    def interrupt(event):
        nonlocal reports
        reports += 1
        if reports in (2, 6):
            raise KeyboardInterrupt

    with followed(interrupt):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                broken.evaluate(**cases)
    first = {path: path.stat().st_mtime_ns for path in (broken.folder / "predictions").iterdir()}
    assert broken.evaluate(**cases) == expected
    assert {path: path.stat().st_mtime_ns for path in first} == first, "no mask was made twice"
