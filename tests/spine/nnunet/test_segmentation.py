"""The segmenter from several threads, with progress, and what its answers are made of."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from spine.nnunet.segmentation import Segmenter
from spine.phantom import make_scan
from spine.recipe import PredictionRecipe

PATIENCE_S = 120


@pytest.fixture
def segmenter(bundles):
    from model_registry.bundle import Bundle
    from model_registry.models import load_segmenter

    return load_segmenter(Bundle(bundles[1]), device=torch.device("cpu"), threads=1)


def phantom(number, *, spacing_mm=6.0):
    return make_scan(seed=number, patient=number, spacing_mm=(spacing_mm,) * 3).image


def test_scans_sent_at_once_get_the_masks_that_each_gets_alone(segmenter):
    scans = [phantom(number) for number in range(3)]
    alone = [segmenter.segment(scan).array for scan in scans]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(segmenter.segment, scans, timeout=PATIENCE_S))
    for scan, one, other in zip(scans, alone, together, strict=True):
        assert other.grid.difference(scan.grid) is None
        assert np.array_equal(one, other.array)


def test_progress_goes_from_none_to_all_windows(segmenter):
    told = []
    segmenter.decode(phantom(1), on_progress=lambda *steps: told.append(steps))
    total = told[0][1]
    assert total > 1
    assert told == [(done, total) for done in range(total + 1)]


def test_what_progress_raises_ends_the_prediction(segmenter):
    def give_up(done, _total):
        raise KeyError(done)

    with pytest.raises(KeyError):
        segmenter.decode(phantom(1), on_progress=give_up)
    assert segmenter.segment(phantom(1)).array.any()


def test_memory_order_and_number_type_of_a_scan_make_no_difference(segmenter):
    from spine.volume.nifti import Volume

    scan = phantom(1)
    expected = segmenter.segment(scan).array
    for array in (np.ascontiguousarray(scan.array), np.asfortranarray(scan.array), scan.array.astype(np.float64)):
        assert np.array_equal(segmenter.segment(Volume(array=array, grid=scan.grid)).array, expected)


def test_the_ensembles_logits_are_the_mean_of_its_folds(bundles):
    from model_registry.bundle import Bundle

    bundle = Bundle(bundles[1])

    def load(folds):
        return Segmenter.from_model_folder(
            bundle.folder / "model",
            digests={fold: bundle.manifest.folds[fold] for fold in folds},
            configuration="3d_fullres",
            recipe=PredictionRecipe(),
            device=torch.device("cpu"),
            threads=1,
        )

    scan = phantom(1)
    data = torch.from_numpy(load([0])._preprocessed(scan)[0])
    first, second, both = (load(folds)._windows.logits(data).float() for folds in ([0], [1], [0, 1]))
    difference = (both - (first + second) / 2).abs() / both.abs().max()
    # Sums are fp16, of fewer digits in the corners, where windows weigh next to nothing.
    assert difference.quantile(0.99) < 0.001
    assert difference.max() < 0.2
    assert not torch.allclose(first, second, atol=0.1)
