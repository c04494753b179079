"""Measures of pieces, against a library's and against every voxel's own place, on an oblique grid."""

import cc3d
import numpy as np

from spine.postprocessing.measuring import measured
from spine.volume.grid import Grid

AFFINE = np.array([[0.9, 0.1, 0.2, -30.0], [-0.2, 1.1, 0.4, 12.0], [-0.1, -0.5, 2.3, 700.0], [0, 0, 0, 1]])


def test_pieces_are_measured_as_by_cc3d_and_as_high_as_their_voxels_lie():
    bone = np.random.default_rng(4).random((17, 12, 21)) < 0.3
    box = (slice(5, 22), slice(0, 12), slice(30, 51))
    components, count = cc3d.connected_components(bone, connectivity=6, out_dtype=np.uint32, return_N=True)
    voxels = np.flatnonzero(bone)
    owners = components.ravel()[voxels].astype(np.int32) - 1
    grid = Grid.of((40, 12, 60), AFFINE)
    found = measured(voxels, owners, count=count, grid=grid, box=box)

    start = np.array([5, 0, 30])
    theirs = cc3d.statistics(components, no_slice_conversion=True)
    ranges = theirs["bounding_boxes"][1:].reshape(count, 3, 2).astype(int) + start[None, :, None]
    np.testing.assert_array_equal(found.voxels, theirs["voxel_counts"][1:])
    np.testing.assert_allclose(found.centres, theirs["centroids"][1:] + start, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.stack([found.low, found.high], axis=2), ranges)
    heights = grid.millimetres(np.argwhere(bone) + start)[:, 2]
    np.testing.assert_allclose(found.top_mm, [heights[owners == piece].max() for piece in range(count)], atol=1e-9)
    np.testing.assert_allclose(found.bottom_mm, [heights[owners == piece].min() for piece in range(count)], atol=1e-9)
