"""One scan in nnU-Net's sliding window: the windows yet to be run, and the weighted sum of what came of the others."""

from collections import deque
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from spine.errors import SpinelineError
from spine.volume.float16 import add_weighted

Window = tuple[Any, ...]
"""An index into arrays of shape (channels, k, j, i), as nnU-Net makes it."""

_CPU = torch.device("cpu")


class NetworkOutputError(SpinelineError):
    """A network answered a scan with something that is no number."""

    def __init__(self) -> None:
        super().__init__("logits: the network's answer is infinite or NaN; expected finite numbers")


class ScanWindows:
    """A preprocessed scan (c, k, j, i), cut as nnU-Net cuts it: padded to a patch at least, the same windows in order.

    What the network says is added up as fp16, as nnU-Net does, so that its rounding is ours too: on the network's
    device, or on the CPU where the device has no room for it.
    """

    def __init__(self, data: torch.Tensor, *, predictor: nnUNetPredictor) -> None:
        patch = tuple(predictor.configuration_manager.patch_size)
        padded, self._inside = pad_nd_image(data, patch, "constant", {"value": 0}, True, None)
        windows = predictor._internal_get_sliding_window_slicers(padded.shape[1:])
        self.pending: deque[Window] = deque(windows)
        self.total, self.done = len(windows), 0
        self.failure: BaseException | None = None
        self._patch = patch
        shape = (predictor.label_manager.num_segmentation_heads, *padded.shape[1:])
        try:
            self._allocate(padded, shape, predictor.device)
        except torch.OutOfMemoryError:
            self._allocate(padded, shape, _CPU)

    def _allocate(self, padded: torch.Tensor, shape: tuple[int, ...], device: torch.device) -> None:
        """Put the scan and its sums on a device; a GPU copies faster from pages that can't be moved."""
        is_copied = device.type == "cuda" and padded.device == _CPU
        self._data = padded.pin_memory().to(device, non_blocking=True) if is_copied else padded.to(device)
        self._sums = torch.zeros(shape, dtype=torch.half, device=device)
        self._weights = torch.zeros(shape[1:], dtype=torch.half, device=device)
        self._gaussian = compute_gaussian(
            self._patch, sigma_scale=1.0 / 8, value_scaling_factor=10, dtype=torch.half, device=device
        )

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.failure is not None or self.done == self.total

    def cut(self, window: Window, *, device: torch.device) -> torch.Tensor:
        """Return a window's voxels on the network's device."""
        return self._data[window].to(device)

    def add(self, window: Window, output: torch.Tensor) -> None:
        """Add what the network said of a window, float32 of shape (classes, …), which may be weighed in place."""
        output = output.to(self._sums.device)
        if self._sums.device == _CPU:
            self._add_on_cpu(window, output)
        else:
            self._sums[window] += output.mul_(self._gaussian)
            self._weights[window[1:]] += self._gaussian
        self.done += 1

    def _add_on_cpu(self, window: Window, output: torch.Tensor) -> None:
        """Add in one pass what takes torch five, to the same bits."""
        start = tuple(edge.start if isinstance(edge, slice) else edge for edge in window[1:])
        # Windows of a network of two dimensions lie in one plane each.
        size = (1,) * (len(start) + 1 - output.ndim) + tuple(output.shape[1:])
        sums, totals, weights = (
            halves.numpy().view(np.uint16) for halves in (self._sums, self._weights, self._gaussian.reshape(size))
        )
        add_weighted(sums, totals, output.reshape(-1, *size).numpy(), weights, start)  # type: ignore[no-untyped-call]

    def make_room(self) -> bool:
        """Move all of it from the device to the CPU; return whether there was anything to move."""
        if self._sums.device == _CPU:
            return False
        self._data, self._sums, self._weights, self._gaussian = (
            held.to(_CPU) for held in (self._data, self._sums, self._weights, self._gaussian)
        )
        return True

    def logits(self) -> torch.Tensor:
        """Return the weighted mean, fp16 on the CPU, once all windows were added; raises NetworkOutputError."""
        self._sums /= self._weights
        low, high = torch.aminmax(self._sums)
        if not torch.isfinite(low) or not torch.isfinite(high):
            raise NetworkOutputError
        return self._sums[(slice(None), *self._inside[1:])].to(_CPU)
