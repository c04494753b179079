"""Are the vertebrae named right: landmarks in mm, VerSe'19 identification, and the level shift."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.metrics.profiles import Profiles
from spine.volume.nifti import Volume

IDENTIFIED_WITHIN_MM: Final = 20.0
MAX_SHIFT: Final = 3
FOUND_SHARE: Final = 0.1
"""A vertebra counts as found where at least this share of it is bone in the other map; less is a stray contact."""
# Nearest offset first: the first of several equal agreements wins.
_SHIFTS: Final = tuple(sorted(range(-MAX_SHIFT, MAX_SHIFT + 1), key=abs))


def centroids_mm(volume: Volume) -> dict[int, NDArray[np.float64]]:
    """Return the centroid, shape (3,), of every label's voxel centres in RAS+ mm, by label.

    The grid's whole affine is applied, so spacing may differ by axis and axes may be mirrored or oblique.
    Raises InvalidValueError where the volume is not a uint8 label map within 0-25.
    """
    return Profiles.of(volume.array).centroids_mm(volume.grid)


def border_labels(array: NDArray[np.uint8]) -> frozenset[int]:
    """Return the labels that have a voxel on any of the six faces of the volume: cut vertebrae."""
    return Profiles.of(array).border_labels()


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


def called_labels(counts: NDArray[np.int64]) -> dict[int, int]:
    """Return by reference label the label 1-25 of most of the bone that is predicted on it; ties to the lowest.

    It is 0 where less than a tenth of the vertebra is predicted as bone: a rim shared with a neighbour says
    nothing about the name. ``counts`` are the joint counts, shape (26, 26), by [reference, prediction]; the
    transposed ones give by predicted label the reference label that it covers.
    """
    totals, named = counts.sum(axis=1), counts[:, 1:]
    bone = named.sum(axis=1)
    return {
        int(label): int(named[label].argmax()) + 1 if bone[label] >= FOUND_SHARE * totals[label] else 0
        for label in np.flatnonzero(totals)
        if label
    }


def _distance_mm(label: int, centre: NDArray[np.float64], predicted: Mapping[int, NDArray[np.float64]]) -> float | None:
    if label not in predicted:
        return None
    distances = {name: float(np.linalg.norm(landmark - centre)) for name, landmark in predicted.items()}
    own = distances[label]
    return own if own <= min(min(distances.values()), IDENTIFIED_WITHIN_MM) else None
