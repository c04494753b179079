"""Raw masks: made once, given up after the third death, and a failure costs one case only."""

import multiprocessing
import os
import signal

import pytest
import torch

from components.evaluate_folds.predictions import Predictions
from model_registry.bundle import Bundle
from model_registry.models import load_segmenter
from spine.errors import OutOfSpaceError
from spine.nnunet.probabilities import SUFFIX, Probabilities
from spine.postprocessing.instances import find_instances
from spine.volume.nifti import read_labels


@pytest.fixture(scope="module")
def segmenter(bundles):
    return load_segmenter(Bundle(bundles[1]), device=torch.device("cpu"), threads=1)


@pytest.fixture
def three(make_cases):
    return make_cases("a", "b", "c")


class Failing:
    """A segmenter that fails at its second case, by raising ``error``."""

    def __init__(self, segmenter, error):
        self.segmenter, self.error, self.asked = segmenter, error, 0

    def predict(self, image):
        self.asked += 1
        if self.asked == 2:
            raise self.error
        return self.segmenter.predict(image)


def made(folder):
    return {path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz")}


def test_every_case_has_a_mask_on_its_own_grid_and_evidence_that_fits_it(segmenter, three, tmp_path):
    dataset, cases = three
    told = []
    predictions = Predictions(tmp_path)
    predictions.make(cases, dataset=dataset, load=lambda: segmenter, on_case=told.append)
    assert told == ["a", "b", "c"]
    for case in cases:
        mask = read_labels(predictions.mask(case.case))
        assert mask.grid.shape == case.shape
        instances = find_instances(mask)
        evidence = predictions.read_evidence(case.case, mask=mask, instances=instances)
        assert evidence.shape == (len(instances.items), 25)
    assert not list(tmp_path.glob(f"*{SUFFIX}")) and not list(tmp_path.glob("*.tried"))


def test_what_was_made_is_not_made_again_and_the_model_not_even_loaded(segmenter, three, tmp_path):
    dataset, cases = three
    predictions = Predictions(tmp_path)
    predictions.make(cases, dataset=dataset, load=lambda: segmenter, on_case=lambda case: None)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    predictions.make(cases, dataset=dataset, load=lambda: pytest.fail("loaded"), on_case=lambda case: None)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_logits_are_kept_where_asked(segmenter, make_cases, tmp_path):
    dataset, cases = make_cases("a")
    predictions = Predictions(tmp_path, keep_logits=True)
    predictions.make(cases, dataset=dataset, load=lambda: segmenter, on_case=lambda case: None)
    kept = Probabilities.read(tmp_path / f"a{SUFFIX}")
    mask = read_labels(predictions.mask("a"))
    voxels = torch.nonzero(torch.from_numpy(mask.array) > 0).numpy()
    likeliest = kept.at(voxels, grid=mask.grid).argmax(axis=1)
    assert (likeliest == mask.array[tuple(voxels.T)]).mean() > 0.99


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("odd"), MemoryError()])
def test_a_case_that_fails_is_told_and_the_others_go_on(segmenter, three, tmp_path, caplog, error):
    dataset, cases = three
    predictions = Predictions(tmp_path)
    predictions.make(cases, dataset=dataset, load=lambda: Failing(segmenter, error), on_case=lambda case: None)
    assert made(tmp_path) == {"a", "c"}
    assert "prediction of b failed; it scores 0" in caplog.text


def test_a_full_disk_is_no_failure_of_the_model(segmenter, three, tmp_path):
    dataset, cases = three
    full = Failing(segmenter, OutOfSpaceError(tmp_path))
    with pytest.raises(OutOfSpaceError):
        Predictions(tmp_path).make(cases, dataset=dataset, load=lambda: full, on_case=lambda case: None)


class Deadly:
    """A segmenter in which the process dies, as it does where memory runs out."""

    def predict(self, image):
        os.kill(os.getpid(), signal.SIGKILL)


def _die(folder, dataset, cases):
    Predictions(folder).make(cases, dataset=dataset, load=Deadly, on_case=lambda case: None)


def test_a_case_at_which_the_process_dies_three_times_is_given_up(segmenter, make_cases, tmp_path, caplog):
    dataset, cases = make_cases("a", "b")
    for _ in range(3):
        process = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path, dataset, cases))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    Predictions(tmp_path).make(cases, dataset=dataset, load=lambda: segmenter, on_case=lambda case: None)
    assert made(tmp_path) == {"b"}
    assert "a ended this step 3 times; it scores 0" in caplog.text
