"""What one scan needs in memory beyond what is held, estimated before any of it is taken."""

import math
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from numpy.typing import NDArray

from spine.postprocessing.instances import MOST_MM3
from spine.volume.grid import Grid

_HALF, _FLOAT, _DOUBLE = 2, 4, 8
_BASE_BYTES = 40 << 20
"""What threads, allocators and the libraries' work space take whatever the scan."""
_SLAB_VOXELS, _SLAB_BYTES = 2 << 20, 28
"""An image is resampled by slabs of so many voxels, which take so many bytes each; the allocator may keep them."""
_FEATURE_MAPS, _OUTPUTS = 5, 4
"""Maps of a patch that are held at once at full size: of the first stage's features, and of the classes."""
_MASK_BYTES, _BONE_BYTES = 4, 56
"""Bytes a voxel of the scan for the mask and its copies, and a voxel of bone to take it apart."""
_CHANNEL_BYTES = 9
"""Bytes a voxel and class of nnU-Net's own export."""


@dataclass(frozen=True)
class MemoryEstimate:
    """The estimate for one model: its constants were measured, on the CPU, and err on the safe side."""

    plans: PlansManager
    configuration: ConfigurationManager
    classes: int
    batch: int
    holds_channels: bool
    """Whether the label map is made by nnU-Net's own export, which holds every class at full size."""

    def of(self, grid: Grid) -> int:
        """Return the bytes of a scan's largest step: preprocessing, the network, or the label map and its vertebrae.

        The image that is given is held already; not so what is made of it, nor its copy in RAS order.
        """
        old, new = self._shapes(grid)
        voxels = math.prod(grid.shape)
        network = int(np.maximum(new, self._patch(new)).prod())
        half_resampled = int(old[0] * new[1] * new[2])
        image = voxels * (_FLOAT + 2) + half_resampled * _DOUBLE + 2 * network * _FLOAT
        logits = network * self.classes * _HALF
        bone = min(voxels, math.ceil(MOST_MM3 / grid.voxel_mm3))
        exported = voxels * (self.classes * _CHANNEL_BYTES if self.holds_channels else _MASK_BYTES) + bone * _BONE_BYTES
        steps = (image, logits + 3 * network * _FLOAT + self._window_bytes(), logits + exported)
        return _BASE_BYTES + min(voxels, _SLAB_VOXELS) * _SLAB_BYTES + max(steps)

    def _window_bytes(self) -> int:
        """Return what one batch of windows takes in the network, and its answer."""
        features = self.configuration.network_arch_init_kwargs["features_per_stage"][0]
        maps = _FEATURE_MAPS * int(features) + _OUTPUTS * self.classes
        return self.batch * int(np.prod(self.configuration.patch_size)) * maps * _FLOAT

    def _shapes(self, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return a scan's shape and the network's, in nnU-Net's order of axes as the plans transpose it."""
        superior_first = np.argsort(io_orientation(grid.matrix)[:, 0])[::-1]
        order = superior_first[list(self.plans.transpose_forward)]
        shape, spacing = np.asarray(grid.shape)[order], np.asarray(grid.spacing_mm)[order]
        target = list(self.configuration.spacing)
        target = [spacing[0], *target] if len(target) < len(shape) else target
        return shape, compute_new_shape(shape, spacing, target)

    def _patch(self, shape: NDArray[np.int64]) -> list[int]:
        patch = [int(size) for size in self.configuration.patch_size]
        return [1, *patch] if len(patch) < len(shape) else patch
