"""What speaks for each name of each vertebra: the voxels' names, or the network's mean probabilities."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import DigestMismatchError, InvalidValueError
from spine.labels import MAX_LABEL
from spine.postprocessing.cropping import bone_box
from spine.postprocessing.instances import Instances
from spine.storage import digest_bytes
from spine.values import Value
from spine.volume.nifti import Volume

Probabilities = Callable[[NDArray[np.intp]], NDArray[np.float32]]
"""From voxel indices (m, 3) to softmax (m, 26), background first."""

SAMPLES: Final = 500
_DIGITS: Final = 5


class Evidence(Value):
    """Rows (n, 25) of evidence, one a vertebra from superior to inferior, and what they were made of.

    ``mask`` and ``instances`` are digests of the mask and of its vertebrae as they were found then, ``seal`` one of
    both and the rows. Each row sums to 1 but for rounding. Strict JSON, small enough to lie beside every mask.
    """

    mask: str
    instances: str
    rows: tuple[tuple[float, ...], ...]
    seal: str

    @classmethod
    def of(cls, labels: Volume, matrix: NDArray[np.float64], *, instances: Instances) -> "Evidence":
        """Keep the evidence (n, 25) for the vertebrae ``instances`` of ``labels``."""
        mask, found = mask_digest(labels), instances_digest(instances)
        rows = tuple(tuple(round(float(share), _DIGITS) for share in row) for row in matrix)
        return cls(mask=mask, instances=found, rows=rows, seal=_seal(mask, found, rows))

    def matrix(self, labels: Volume, *, instances: Instances) -> NDArray[np.float64]:
        """Return the rows (n, 25).

        Raises DigestMismatchError where they were made of another mask than ``labels``, or for vertebrae taken
        apart or put in order in another way than ``instances``, or were changed since; InvalidValueError where
        they are no shares of 25 names.
        """
        for what, found, expected in (
            ("mask", mask_digest(labels), self.mask),
            ("vertebrae", instances_digest(instances), self.instances),
            ("rows", _seal(self.mask, self.instances, self.rows), self.seal),
        ):
            if found != expected:
                raise DigestMismatchError(f"{what} of the stored evidence", found=found, expected=expected)
        matrix = np.array(self.rows, dtype=np.float64) if self.rows else np.zeros((0, MAX_LABEL))
        require_evidence(matrix, instances=instances)
        return matrix


def vote_evidence(instances: Instances) -> NDArray[np.float64]:
    """Return the share of each name among each vertebra's voxels, shape (n, 25)."""
    count = len(instances.items)
    inside = instances.owners >= 0
    cells = instances.owners[inside].astype(np.intp) * MAX_LABEL + instances.names[inside] - 1
    votes = np.bincount(cells, minlength=count * MAX_LABEL).reshape(count, MAX_LABEL)
    return np.asarray(votes / np.maximum(votes.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def sampled_evidence(instances: Instances, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return the mean softmax over up to 500 voxels of each vertebra, evenly spread over it, shape (n, 25).

    The background's share is left out and the rest brought to a sum of 1. ``probabilities`` is asked once.
    Raises InvalidValueError where it answers with another shape.
    """
    count = len(instances.items)
    # Numpy sorts 16 bits by their digits, many times faster; no spine has as many vertebrae.
    order = np.argsort(instances.owners.astype(np.int16), kind="stable")
    starts = np.searchsorted(instances.owners[order], np.arange(count + 1))
    chosen = [order[_spread(first, last)] for first, last in pairwise(starts)]
    if not chosen:
        return np.zeros((0, MAX_LABEL))
    numbers = np.concatenate(chosen)
    softmax = np.asarray(probabilities(instances.indices(numbers)), dtype=np.float64)
    if softmax.shape != (len(numbers), MAX_LABEL + 1):
        expected = str((len(numbers), MAX_LABEL + 1))
        raise InvalidValueError("shape of the probabilities", softmax.shape, expected=expected)
    firsts = np.cumsum([0, *(len(voxels) for voxels in chosen[:-1])])
    sums = np.add.reduceat(softmax[:, 1:], firsts, axis=0)
    return np.asarray(sums / np.maximum(sums.sum(axis=1, keepdims=True), np.finfo(float).tiny), dtype=np.float64)


def require_evidence(matrix: NDArray[np.float64], *, instances: Instances) -> None:
    """Raise InvalidValueError unless ``matrix`` is (n, 25), finite and not negative for the n vertebrae found."""
    expected = (len(instances.items), MAX_LABEL)
    if matrix.shape != expected and (expected[0] or matrix.size):
        raise InvalidValueError("shape of the evidence", matrix.shape, expected=f"{expected}, one row a vertebra")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise InvalidValueError("evidence", "NaN, infinite or negative", expected="shares within 0-1")


def mask_digest(labels: Volume) -> str:
    """Return ``sha256:…`` of a label map's voxels and shape, whatever file and memory order it is kept in."""
    box = bone_box(labels.array)
    head = repr((labels.array.shape, [(edge.start, edge.stop) for edge in box or ()])).encode()
    return digest_bytes(head + (labels.array[box].tobytes() if box else b""))


def instances_digest(instances: Instances) -> str:
    """Return ``sha256:…`` of which vertebra, by its place in the row, each bone voxel belongs to."""
    return digest_bytes(repr(instances.shape).encode() + instances.owners.astype("<i4").tobytes())


def _seal(mask: str, instances: str, rows: tuple[tuple[float, ...], ...]) -> str:
    return digest_bytes(repr((mask, instances, rows)).encode())


def _spread(first: int, last: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(first, last - 1, num=min(SAMPLES, last - first)).round().astype(np.intp))
