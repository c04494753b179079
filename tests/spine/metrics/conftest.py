"""Toy spines by hand: boxes of 10 x 10 x 8 = 800 voxels stacked along the last axis, uppermost label first."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from spine.volume.grid import Grid
from spine.volume.nifti import Volume


@pytest.fixture
def stack() -> Callable[..., NDArray[np.uint8]]:
    """A function of labels that gives (16, 16, 50), one box every 10 voxels, clear of every face."""

    def build(labels: Iterable[int] = (20, 21, 22, 23)) -> NDArray[np.uint8]:
        array = np.zeros((16, 16, 50), dtype=np.uint8)
        for place, label in enumerate(labels):
            array[3:13, 3:13, 38 - place * 10 : 46 - place * 10] = label
        return array

    return build


@pytest.fixture
def on_grid() -> Callable[..., Volume]:
    """A function that puts an array on a grid: 1.5 mm isotropic where no affine is given."""

    def build(array: NDArray[np.uint8], affine: NDArray[np.float64] | None = None) -> Volume:
        matrix = np.diag([1.5, 1.5, 1.5, 1.0]) if affine is None else affine
        return Volume(array=array, grid=Grid.of(array.shape, matrix))

    return build
