"""Are the vertebrae named right: landmarks in mm, VerSe'19 identification, and the level shift."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.metrics.foreground import bone_voxels, flat, is_column_major
from spine.volume.nifti import Volume

IDENTIFIED_WITHIN_MM: Final = 20.0
MAX_SHIFT: Final = 3
# Nearest offset first: the first of several equal agreements wins.
_SHIFTS: Final = tuple(sorted(range(-MAX_SHIFT, MAX_SHIFT + 1), key=abs))


def centroids_mm(volume: Volume) -> dict[int, NDArray[np.float64]]:
    """Return the centroid, shape (3,), of every label's voxel centres in RAS+ mm, by label.

    The grid's whole affine is applied, so spacing may differ by axis and axes may be mirrored or oblique.
    Raises InvalidValueError where the volume is not a uint8 label map within 0-25.
    """
    column_major = is_column_major(volume.array)
    sums = np.zeros((MAX_LABEL + 1, 3))
    voxels = np.zeros(MAX_LABEL + 1, dtype=np.int64)
    for positions, labels in bone_voxels(flat(volume.array, column_major=column_major)):
        indices = np.unravel_index(positions, volume.array.shape, order="F" if column_major else "C")
        voxels += np.bincount(labels, minlength=voxels.size)
        for axis, index in enumerate(indices):
            sums[:, axis] += np.bincount(labels, weights=index, minlength=voxels.size)
    return {int(label): volume.grid.millimetres(sums[label] / voxels[label]) for label in np.flatnonzero(voxels)}


def border_labels(array: NDArray[np.uint8]) -> frozenset[int]:
    """Return the labels that have a voxel on any of the six faces of the volume: cut vertebrae."""
    faces = (np.moveaxis(array, axis, 0)[end] for axis in range(array.ndim) for end in (0, -1))
    return frozenset(int(label) for face in faces for label in np.unique(face) if label)


def localisation_mm(
    *, reference: Mapping[int, NDArray[np.float64]], prediction: Mapping[int, NDArray[np.float64]]
) -> dict[int, float | None]:
    """Return by reference label the distance in mm of the two centroids, None where it is not identified.

    A reference vertebra is identified if, of all predicted centroids, the one of its own label lies nearest
    to its centroid (a tie counts) and within 20 mm: the identification rate of VerSe'19, Sekuboyina et al.
    2021, Med. Image Anal. 73:102166. Both arguments are centroids in mm by label.
    """
    return {label: _distance_mm(label, centre, prediction) for label, centre in reference.items()}


def level_shift(counts: NDArray[np.int64]) -> int | None:
    """Return the offset that the prediction's names are off by, from the joint counts of shape (26, 26).

    It is the k in -3..3 that maximises the voxels with reference label l and predicted label l + k, both in
    1-25; the smallest |k| wins a tie (then the negative). +1: each vertebra has the name of the next lower
    one (T5 is called T6). None where no bone overlaps with a name within three levels.
    """
    # A diagonal of the bone block [1:, 1:] holds exactly the pairs (l, l + k) within 1-25.
    agreement = {shift: int(np.trace(counts[1:, 1:], offset=shift)) for shift in _SHIFTS}
    best = max(_SHIFTS, key=lambda shift: agreement[shift])
    return best if agreement[best] else None


def _distance_mm(label: int, centre: NDArray[np.float64], predicted: Mapping[int, NDArray[np.float64]]) -> float | None:
    if label not in predicted:
        return None
    distances = {name: float(np.linalg.norm(landmark - centre)) for name, landmark in predicted.items()}
    own = distances[label]
    return own if own <= min(min(distances.values()), IDENTIFIED_WITHIN_MM) else None
