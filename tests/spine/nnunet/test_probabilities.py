"""Probabilities looked up by a scan's voxels: they are those that the label map was made of, in any orientation."""

import numpy as np
import pytest
import torch

from spine.errors import MalformedFileError, MissingPathError
from spine.nnunet.probabilities import SUFFIX, Place, Probabilities
from spine.nnunet.segmentation import Segmenter
from spine.phantom import make_scan
from spine.recipe import PredictionRecipe
from spine.volume.grid import Grid
from spine.volume.nifti import Volume


def every_voxel(shape):
    return np.indices(shape).reshape(3, -1).T


@pytest.fixture
def segmenter(bundles):
    from model_registry.bundle import Bundle

    bundle = Bundle(bundles[1])
    return Segmenter.from_model_folder(
        bundle.folder / "model",
        digests=bundle.manifest.folds,
        configuration="3d_fullres",
        recipe=PredictionRecipe(),
        device=torch.device("cpu"),
        threads=1,
    )


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "LPS"])
def test_without_resampling_the_likeliest_class_of_every_voxel_is_its_label(segmenter, orientation):
    scan = make_scan(seed=5, patient=1, spacing_mm=(6.0, 6.0, 6.0), orientation=orientation).image
    # nnU-Net crops to what is not zero: a frame of zeros shifts its grid against the scan's.
    array = np.pad(scan.array, ((2, 1), (0, 3), (4, 2)))
    image = Volume(array=array, grid=Grid.of(array.shape, scan.grid.matrix))
    made = segmenter.predict(image)
    indices = every_voxel(array.shape)
    likeliest = made.probabilities.at(indices, grid=image.grid).argmax(axis=1)
    cropped = (slice(2, -1), slice(0, -3), slice(4, -2))
    assert len(np.unique(made.labels.array)) > 2
    assert np.array_equal(likeliest.reshape(array.shape)[cropped], made.labels.array[cropped])


def test_a_finer_scan_takes_the_network_voxel_that_holds_its_own():
    logits = np.zeros((26, 2, 3, 4), dtype=np.float32)
    classes = np.arange(24).reshape(2, 3, 4)
    np.put_along_axis(logits, classes[None], 9.0, axis=0)
    grid = Grid.of((12, 9, 6), np.diag([0.5, 1.0, 2.0, 1.0]))
    place = Place(canonical=grid.affine, transpose=(0, 1, 2), first=(0, 0, 0), size=(6, 9, 12))
    found = Probabilities(logits, place).at(every_voxel(grid.shape), grid=grid)
    expected = classes.T.repeat(3, axis=0).repeat(3, axis=1).repeat(3, axis=2)
    assert np.array_equal(found.argmax(axis=1).reshape(grid.shape), expected)
    assert np.allclose(found.sum(axis=1), 1)


def test_axes_that_the_plans_transpose_are_found_again():
    logits = np.zeros((26, 2, 3, 4), dtype=np.float32)
    classes = np.arange(24).reshape(2, 3, 4)
    np.put_along_axis(logits, classes[None], 9.0, axis=0)
    # Network axes are (j, k, i): plans that put the coarsest axis first.
    grid = Grid.of((4, 2, 3), np.eye(4))
    place = Place(canonical=grid.affine, transpose=(1, 0, 2), first=(0, 0, 0), size=(2, 3, 4))
    found = Probabilities(logits, place).at(every_voxel(grid.shape), grid=grid)
    assert np.array_equal(found.argmax(axis=1).reshape(grid.shape), classes.transpose(2, 0, 1))


def test_what_was_kept_reads_as_it_was(tmp_path):
    logits = np.random.default_rng(0).normal(size=(26, 5, 4, 3)).astype(np.float16)
    grid = Grid.of((3, 4, 5), np.eye(4))
    place = Place(canonical=grid.affine, transpose=(0, 1, 2), first=(0, 0, 0), size=(5, 4, 3))
    path = tmp_path / f"case{SUFFIX}"
    Probabilities(logits, place).write(path)
    voxels = every_voxel(grid.shape)
    again = Probabilities.read(path).at(voxels, grid=grid)
    assert np.array_equal(again, Probabilities(logits, place).at(voxels, grid=grid))


def test_kept_logits_that_are_no_such_file_are_refused(tmp_path):
    path = tmp_path / f"case{SUFFIX}"
    with pytest.raises(MissingPathError, match="where asked"):
        Probabilities.read(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(MalformedFileError, match="logits"):
        Probabilities.read(path)
