"""nnU-Net's training augmentation with its slow step, the spatial transform of volumes, in compiled code.

Every image, label and random number is stock's, bit for bit: of what the kernels can't promise that for, stock does.
"""

import copy
import functools
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from spine.nnunet import grid_sampling


def faster(transforms: ComposeTransforms) -> ComposeTransforms:
    """Return the same pipeline with its stock spatial transforms compiled; it shares all others with the given one."""
    return ComposeTransforms(
        [CompiledSpatialTransform.of(t) if type(t) is SpatialTransform else t for t in transforms.transforms]
    )


def reproducible(transforms: ComposeTransforms) -> ComposeTransforms:
    """Return the same pipeline with its Gaussian blur always convolved.

    Stock times a convolution against a Fourier transform as it goes and takes the faster, and the two round
    differently: the same seed would train another network whenever the machine is busy. At 128³ it takes the
    convolution too.
    """
    return ComposeTransforms([_convolving(transform) for transform in transforms.transforms])


def _convolving(transform: Any) -> Any:
    blur = getattr(transform, "transform", None)
    if not isinstance(blur, GaussianBlurTransform):
        return transform
    outer, inner = copy.copy(transform), copy.copy(blur)
    inner.benchmark, outer.transform = False, inner
    return outer


class CompiledSpatialTransform(SpatialTransform):  # type: ignore[misc]
    """The stock transform, its grid and its sampling of volumes compiled; 2-D, elastic and rare modes stay stock's."""

    @classmethod
    def of(cls, stock: SpatialTransform) -> "CompiledSpatialTransform":
        """Take over every parameter of a stock transform."""
        made = cls.__new__(cls)
        made.__dict__.update(stock.__dict__)
        return made

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw what stock draws, but on a grid of one point; then make the whole grid."""
        if len(self.patch_size) != 3 or self.p_elastic_deform > 0:
            return super().get_parameters(**data_dict)  # type: ignore[no-any-return]
        single = copy.copy(self)
        single.patch_size, single._grid_cache = (1, 1, 1), {}
        drawn: dict[str, Any] = SpatialTransform.get_parameters(single, **data_dict)
        if drawn["grid"] is not None:
            shape = data_dict["image"].shape[1:]
            drawn["grid"] = self._grid(drawn["affine"], drawn["center_location_in_pixels"], shape)
        return drawn

    def _grid(self, affine: NDArray[np.float64], center: list[float], shape: tuple[int, ...]) -> torch.Tensor:
        # torch multiplies here too: how its BLAS rounds is not ours to repeat.
        offsets = torch.matmul(self._get_base_grid_clone(), torch.from_numpy(affine.T).float())
        points = grid_sampling.grid_points(
            offsets.numpy().reshape(-1, 3),
            np.array([place - size / 2 for place, size in zip(center, shape, strict=True)], dtype=np.float32),
            np.array([size / 2 for size in shape], dtype=np.float32),
        )
        return torch.from_numpy(points).reshape(offsets.shape)

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        is_ours = self.mode_image == "bilinear" and self.padding_mode_image == "zeros" and img.dtype == torch.float32
        if not is_ours or not self._samples_exactly(params["grid"]):
            return super()._apply_to_image(img, **params)  # type: ignore[no-any-return]
        points = params["grid"].numpy().reshape(-1, 3)
        sampled = [grid_sampling.sample_image(channel, points) for channel in img.contiguous().numpy()]
        return torch.from_numpy(np.stack(sampled)).reshape(len(sampled), *params["grid"].shape[:3])

    def _apply_to_segmentation(self, segmentation: torch.Tensor, **params: Any) -> torch.Tensor:
        is_ours = (
            self.mode_seg == "bilinear"
            and self.seg_tiebreak == "nearest"
            and self.border_mode_seg in ("constant", "zeros")
            and self.padding_value_seg in (-1, 0)
            and segmentation.dtype == torch.int16
        )
        if not is_ours or not self._samples_exactly(params["grid"]):
            return super()._apply_to_segmentation(segmentation, **params)  # type: ignore[no-any-return]
        sampled = [self._sampled_labels(channel, params["grid"]) for channel in segmentation.contiguous()]
        return torch.stack(sampled)

    def _sampled_labels(self, labels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        pad_label = int(self.padding_value_seg) if self.border_mode_seg == "constant" else 0
        reaches_outside = self._may_reach_outside(grid, labels.shape)
        count, low, high = grid_sampling.kinds(labels.numpy(), pad_label, reaches_outside)
        if count == 1:
            return torch.full(grid.shape[:3], low, dtype=labels.dtype)
        # With two labels stock scores the higher one alone, which rounds otherwise than comparing the two.
        pair = (low, high) if count == 2 else (0, 0)
        points = grid.numpy().reshape(-1, 3)
        sampled = grid_sampling.sample_labels(labels.numpy(), points, pad_label, reaches_outside, pair)
        return torch.from_numpy(sampled).reshape(grid.shape[:3])

    def _samples_exactly(self, grid: torch.Tensor | None) -> bool:
        return grid is not None and grid.ndim == 4 and not self.align_corners and rounds_like_torch()


@functools.cache
def rounds_like_torch() -> bool:
    """Compare the kernel with torch at 4096 random points: built for another processor, torch may fuse operations."""
    random = np.random.default_rng(0)
    image = torch.from_numpy(random.standard_normal((15, 17, 19), dtype=np.float32))
    points = torch.from_numpy(random.uniform(-1.1, 1.1, (4096, 3)).astype(np.float32))
    torchs = grid_sample(image[None, None], points[None, None, None], padding_mode="zeros", align_corners=False)
    return np.array_equal(torchs.numpy().ravel(), grid_sampling.sample_image(image.numpy(), points.numpy()))
