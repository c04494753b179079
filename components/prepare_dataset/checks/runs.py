"""A label map as runs: stretches of one label along the axis that is fastest in memory; far fewer than voxels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine.metrics.foreground import flat, is_column_major

Index = NDArray[np.intp]
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Runs:
    """All runs of bone in order of memory, each array of shape (n,).

    A run covers ``lengths`` voxels from the voxel ``first`` (shape (3, n), in the array's own axes) on along ``axis``.
    """

    labels: NDArray[np.uint8]
    first: NDArray[np.intp]
    lengths: Index
    axis: int

    @property
    def last(self) -> NDArray[np.intp]:
        """The last voxel of every run, shape (3, n)."""
        last = self.first.copy()
        last[self.axis] += self.lengths - 1
        return last

    def somewhere(self, *, most: int) -> tuple[Index, Index, Index]:
        """Return one voxel each of at most ``most`` runs, spread over runs and over the places within them."""
        step = max(self.labels.size // most, 1)
        i, j, k = self.first[:, ::step].copy()
        lengths = self.lengths[::step]
        # The golden ratio spreads the places evenly and alike on every call.
        offset = (np.arange(lengths.size) * 0.618034 % 1 * lengths).astype(np.intp)
        (i, j, k)[self.axis][:] += offset
        return i, j, k

    def weights(self, *, most: int) -> Index:
        """Return how many voxels stand behind each that ``somewhere`` gives."""
        return self.lengths[:: max(self.labels.size // most, 1)]


def runs_of(array: NDArray[np.uint8]) -> Runs:
    """Return the runs of a label map (uint8, C or Fortran order)."""
    column_major = is_column_major(array)
    voxels = flat(array, column_major=column_major)
    axis = 0 if column_major else 2
    starts = _starts(voxels, row=array.shape[axis])
    labels = voxels[starts]
    lengths = np.diff(starts, append=voxels.size)
    bone = labels > 0
    starts = starts[bone]
    first = np.stack(np.unravel_index(starts, array.shape, order="F" if column_major else "C"))
    return Runs(labels=labels[bone], first=first, lengths=lengths[bone], axis=axis)


def _starts(voxels: NDArray[np.uint8], *, row: int) -> Index:
    """Return where a run of one value begins: at every change, and in a new row."""
    # Block by block, so that the comparison stays in the cache.
    blocks = range(0, voxels.size - 1, _BLOCK)
    changes = [
        np.flatnonzero(voxels[at + 1 : at + 1 + _BLOCK] != voxels[at : min(at + _BLOCK, voxels.size - 1)]) + (at + 1)
        for at in blocks
    ]
    heads = np.arange(row, voxels.size, row)
    unbroken = heads[(voxels[heads] > 0) & (voxels[heads] == voxels[heads - 1])]
    starts = np.concatenate([np.zeros(1, dtype=np.intp), *changes, unbroken])
    return np.sort(starts) if unbroken.size else starts
