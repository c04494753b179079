"""Where each label lies: its voxels counted along each axis, and what follows: centroid, border and bounding box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.metrics.foreground import bone_voxels
from spine.volume.grid import Grid


@dataclass(frozen=True)
class Profiles:
    """Voxels by label and index, one array of shape (26, size of the axis) an axis; row 0, the background, is 0."""

    axes: tuple[NDArray[np.int64], ...]

    @classmethod
    def empty(cls, shape: Sequence[int]) -> "Profiles":
        """Profiles of a map of ``shape`` without any label."""
        return cls(axes=tuple(np.zeros((MAX_LABEL + 1, size), dtype=np.int64) for size in shape))

    @classmethod
    def of(cls, array: NDArray[np.uint8]) -> "Profiles":
        """Count the labels of one map; raises InvalidValueError where it is not uint8 within 0-25."""
        profiles = cls.empty(array.shape)
        for indices, (labels,) in bone_voxels(maps=[array]):
            profiles.add(indices, labels)
        return profiles

    def add(self, indices: Sequence[NDArray[np.intp]], labels: NDArray[np.uint8]) -> None:
        """Count voxels in: their indices, one array of shape (n,) an axis, and their labels, shape (n,)."""
        rows = labels.astype(np.intp)
        for counts, index in zip(self.axes, indices, strict=True):
            counts += np.bincount(rows * counts.shape[1] + index, minlength=counts.size).reshape(counts.shape)
            counts[0] = 0

    def centroids_mm(self, grid: Grid) -> dict[int, NDArray[np.float64]]:
        """Return the centroid, shape (3,), of every label's voxel centres in RAS+ mm, by label."""
        voxels = self.axes[0].sum(axis=1)
        sums = np.stack([counts @ np.arange(counts.shape[1]) for counts in self.axes], axis=1)
        return {int(label): grid.millimetres(sums[label] / voxels[label]) for label in np.flatnonzero(voxels)}

    def border_labels(self) -> frozenset[int]:
        """Return the labels that have a voxel on any face of the volume: cut vertebrae."""
        touching = sum(counts[:, end] for counts in self.axes for end in (0, -1))
        return frozenset(int(label) for label in np.flatnonzero(touching))

    def box(self) -> tuple[slice, ...] | None:
        """Return the bounding box of all labels together, None where there is none."""
        held = [np.flatnonzero(counts.any(axis=0)) for counts in self.axes]
        if not held[0].size:
            return None
        return tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in held)
