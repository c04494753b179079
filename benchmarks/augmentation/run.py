"""Augmenting batches of 2 × 128³ with 26 classes: stock nnU-Net and ours in turn, on the same crops and seeds."""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from spine.nnunet.augmentation import faster

ROTATION = (-np.pi / 6, np.pi / 6)
P_WARP = 0.2  # stock's probability of a rotation, and of a scaling
SCALES = [[1 / 2**level] * 3 for level in range(5)]
Scan = tuple[NDArray[np.float32], NDArray[np.int16]]


@dataclass(frozen=True)
class Patch:
    """One patch augmented both ways."""

    stock_s: float
    ours_s: float
    is_identical: bool
    is_warped: bool
    labels: int


def main() -> None:
    """Make a scan, augment, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--patch", type=int, nargs=3, default=(128, 128, 128))
    parser.add_argument("--pitch", type=int, default=8, help="voxels from one vertebra to the next")
    given = parser.parse_args()
    crop = tuple(int(size) for size in get_patch_size(given.patch, ROTATION, ROTATION, ROTATION, (0.85, 1.25)))
    scan = make_scan(crop, pitch=given.pitch)
    stock = nnUNetTrainer.get_training_transforms(np.array(given.patch), ROTATION, SCALES, (0, 1, 2), False)
    ours = faster(stock)
    torch.set_num_threads(1)
    with torch.no_grad(), threadpool_limits(limits=1):
        warm_up(ours, scan, crop)
        patches = [augment(stock, ours, cut(scan, crop, seed), seed) for seed in range(2 * given.batches)]
    print(f"patch {tuple(given.patch)} of a crop {crop}, {statistics.mean(p.labels for p in patches):.1f} labels in it")
    report(patches)


def make_scan(crop: tuple[int, ...], *, pitch: int) -> Scan:
    """Return noise over labels 0-25: discs with an arch behind, on a curve along the first axis."""
    shape = (max(25 * pitch, crop[0]), crop[1], crop[2])
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    labels = np.zeros(shape, dtype=np.int16)
    for label in range(1, 26):
        below = (z - (label - 0.5) * pitch) / pitch
        behind, beside = y - shape[1] / 2 - 15 * np.sin(label / 4), x - shape[2] / 2
        labels[(below / 0.55) ** 2 + (behind / 14) ** 2 + (beside / 18) ** 2 < 1] = label
        labels[(below / 0.6) ** 2 + ((behind - 20) / 13) ** 2 + (beside / 5) ** 2 < 1] = label
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return noise + 2 * (labels > 0).astype(np.float32), labels


def cut(scan: Scan, crop: tuple[int, ...], seed: int) -> dict[str, torch.Tensor]:
    """Cut a random crop, up to 30 voxels beyond the scan, padded as nnU-Net's loader pads it."""
    image, labels = scan
    random = np.random.default_rng(seed)
    low = [random.integers(-30, n - size + 31) for n, size in zip(labels.shape, crop, strict=True)]
    box = [[start, start + size] for start, size in zip(low, crop, strict=True)]
    return {
        "image": torch.from_numpy(crop_and_pad_nd(image[None], box, 0)),
        "segmentation": torch.from_numpy(crop_and_pad_nd(labels[None], box, -1)),
    }


def warm_up(transforms: ComposeTransforms, scan: Scan, crop: tuple[int, ...]) -> None:
    """Compile the kernels; let the blur, which both pipelines share, choose its convolutions by its stopwatch."""
    spatial, _, blur = transforms.transforms[:3]
    sample = cut(scan, crop, 0)
    while (params := spatial.get_parameters(**sample))["grid"] is None:
        continue
    image = spatial.apply(sample, **params)["image"]
    for sigma in (0.5, 1.0):
        blur.transform._apply_to_image(image, apply_to_channel=torch.tensor([True]), sigmas=[[sigma] * 3])


def augment(stock: ComposeTransforms, ours: ComposeTransforms, sample: dict[str, torch.Tensor], seed: int) -> Patch:
    """Augment one crop both ways, in turns of who is first, each from the same seed."""
    order = (stock, ours) if seed % 2 else (ours, stock)
    done = {transforms: augment_once(transforms, sample, seed) for transforms in order}
    (stock_s, expected), (ours_s, given) = done[stock], done[ours]
    return Patch(
        stock_s=stock_s,
        ours_s=ours_s,
        is_identical=expected == given,
        is_warped=bool((np.random.RandomState(seed).uniform(size=2) < P_WARP).any()),
        labels=len(torch.unique(sample["segmentation"])),
    )


def augment_once(
    transforms: ComposeTransforms, sample: dict[str, torch.Tensor], seed: int
) -> tuple[float, list[tuple[Any, ...]]]:
    """Return seconds, and type, shape and bytes of the image, the labels at all scales, and the random states after."""
    copies = {name: value.clone() for name, value in sample.items()}
    np.random.seed(seed)
    torch.manual_seed(seed)
    began = time.perf_counter()
    made = transforms(**copies)
    seconds = time.perf_counter() - began
    arrays = [array.numpy() for array in (made["image"], *made["segmentation"], torch.get_rng_state())]
    state = np.random.get_state()
    return seconds, [(a.dtype, a.shape, a.tobytes()) for a in (*arrays, state[1])] + [state[2:]]


def report(patches: Sequence[Patch]) -> None:
    """Print means and medians of batches of two, then of patches by what was done to them."""
    batches = list(zip(patches[::2], patches[1::2], strict=True))
    same = sum(first.is_identical and second.is_identical for first, second in batches)
    print(f"identical batches: {same} of {len(batches)}")
    totals = [(a.stock_s + b.stock_s, a.ours_s + b.ours_s) for a, b in batches]
    line("batch, mean", *map(statistics.mean, zip(*totals, strict=True)))
    line("batch, median", *map(statistics.median, zip(*totals, strict=True)))
    for name, is_warped in (("rotated or scaled", True), ("only cropped", False)):
        times = [(patch.stock_s, patch.ours_s) for patch in patches if patch.is_warped == is_warped]
        if times:
            line(f"patch {name}, mean of {len(times)}", *map(statistics.mean, zip(*times, strict=True)))


def line(name: str, stock_s: float, ours_s: float) -> None:
    """Print one row."""
    print(f"  {name:36} stock {stock_s * 1000:8.1f} ms   ours {ours_s * 1000:7.1f} ms   {stock_s / ours_s:5.1f} times")


if __name__ == "__main__":
    main()
