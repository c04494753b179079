"""Whether a scan is like those that a network was trained on: what the reader is told where it is not."""

from typing import Any, Final

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from model_registry.training_distribution import TrainingDistribution
from spine.postprocessing import flags
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

NOTHING_FOUND: Final = "no vertebra found"
OUTSIDE_SPACING: Final = "outside the training spacing"
OUTSIDE_HU: Final = "outside the training HU range"

SCAN_DEFINITIONS: Final = {
    NOTHING_FOUND: "The mask holds no vertebra: the scan shows none, or the version missed all that it shows.",
    OUTSIDE_SPACING: "A voxel edge is over 1.25 times the longest, or under half of the shortest, that the version "
    "was trained on along the same axis of the body.",
    OUTSIDE_HU: "Its values are not spread as those of a CT in HU like the version's training scans are: air and fat "
    "are missing, or bone is, or much of it is as bright as bone, or what was labelled is unlike their vertebrae.",
}
"""What each flag of a whole scan says, in one sentence."""

DEFINITIONS: Final = {**SCAN_DEFINITIONS, **flags.DEFINITIONS}

NOT_COMPARED: Final = (
    "the version's bundle holds no fingerprint of its training data: spacing and HU were not compared with it"
)

_COARSER, _FINER = 1.25, 0.5
_AXES: Final = ("left-right", "anterior-posterior", "superior-inferior")
_SAMPLES: Final = 2_000_000
_LEAST_DARK: Final = 0.01  # a crop of nothing but a loin, with its bed of fat, has five times as many
_LEAST_BONE: Final = 0.0005
_MOST_BONE: Final = 0.4  # a crop around three vertebrae has 0.06
_MOST_UNLIKE: Final = 0.5  # in training it is 0.01; noise, screws and frail bone account for 0.3
_ENOUGH_VOXELS: Final = 50


def scan_flags(scan: Volume, labels: Volume, *, training_distribution: TrainingDistribution) -> dict[str, str]:
    """Return the flags of a whole scan, each with a sentence that says what was found and what was expected.

    ``scan`` (i, j, k) in HU and ``labels`` (i, j, k) lie on one grid. Of a large scan up to some two million voxels
    are looked at, evenly spread.
    """
    found = {
        OUTSIDE_SPACING: _spacing(scan.grid, training_distribution),
        OUTSIDE_HU: _values(scan, labels, training_distribution),
    }
    return {flag: remark for flag, remark in found.items() if remark}


def _spacing(grid: Grid, training_distribution: TrainingDistribution) -> str | None:
    edges = np.zeros(3)
    edges[io_orientation(grid.matrix)[:, 0].astype(int)] = grid.spacing_mm
    for axis, edge, least, most in zip(
        _AXES,
        edges.tolist(),
        training_distribution.least_spacing_mm,
        training_distribution.largest_spacing_mm,
        strict=True,
    ):
        # Headers keep spacings as 32-bit numbers: 1.25 times 1.2 is 1.5000001 there.
        if not round(least * _FINER, 4) <= round(edge, 4) <= round(most * _COARSER, 4):
            trained = f"{least:.3g}" if least == most else f"{least:.3g} to {most:.3g}"
            return f"voxels are {edge:.3g} mm long {axis}; the version was trained on {trained} mm"
    return None


def _values(scan: Volume, labels: Volume, training_distribution: TrainingDistribution) -> str | None:
    step = max(1, int((scan.array.size / _SAMPLES) ** (1 / 3)))
    values = _sampled(scan.array, step)
    low, middle, high = training_distribution.bone_hu
    dark, bone = float((values < low).mean()), float((values > middle).mean())
    if dark < _LEAST_DARK:
        return f"{dark:.2%} of the voxels lie below {low:.0f}: air and fat are missing, is it a CT in HU?"
    if bone < _LEAST_BONE:
        return f"{bone:.3%} of the voxels lie above {middle:.0f}, the median of bone in training: bone is missing"
    if bone > _MOST_BONE:
        return f"{bone:.0%} of the voxels lie above {middle:.0f}, the median of bone in training: is it a CT in HU?"
    labelled = values[_sampled(labels.array, step) > 0]
    unlike = float(((labelled < low) | (labelled > high)).mean()) if len(labelled) >= _ENOUGH_VOXELS else 0.0
    if unlike > _MOST_UNLIKE:
        return f"{unlike:.0%} of the labelled voxels lie outside {low:.0f} to {high:.0f}, where 99% of training's lay"
    return None


def _sampled(array: NDArray[Any], step: int) -> NDArray[Any]:
    return array[::step, ::step, ::step]
