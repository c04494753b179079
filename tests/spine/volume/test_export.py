"""The export: to the voxel the arg-max of nnU-Net's own resampling in torch, with a bounded memory."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from spine.volume.export import UnfitLogitsError, label_map

pytest.importorskip("nnunetv2")

AXES = [None, 0, 1, 2]
SHAPES = {
    "up": ((7, 9, 8), (13, 19, 21)),
    "down": ((12, 17, 15), (5, 8, 7)),
    "up and down": ((5, 14, 9), (11, 6, 9)),
    "by whole factors": ((6, 5, 7), (12, 15, 28)),
    "equal": ((6, 7, 5), (6, 7, 5)),
    "equal but for one axis": ((6, 7, 5), (17, 7, 5)),
    "one plane": ((1, 9, 8), (3, 21, 17)),
    "one row": ((5, 1, 1), (9, 4, 80)),
    "to one voxel": ((8, 9, 7), (1, 1, 1)),
    "large planes": ((3, 21, 30), (4, 60, 91)),
    "planes below torch's limit": ((2, 11, 10), (3, 64, 64)),
    "planes above torch's limit": ((2, 11, 10), (3, 64, 65)),
}


def noise(rng, shape):
    return rng.standard_normal(shape)


def smooth(rng, shape):
    return 8 * np.stack([gaussian_filter(channel, 1.5) for channel in noise(rng, shape)])


def ties(rng, shape):
    return rng.integers(-2, 3, shape)


def last_bits(rng, shape):
    """Give logits that differ in their last two bits only: rounding decides."""
    base = rng.standard_normal(shape[1:]).astype(np.float32).view(np.int32)
    return (base + rng.integers(0, 3, shape, dtype=np.int32)).view(np.float32)


def not_finite(rng, shape):
    values, place = noise(rng, shape), rng.random(shape)
    for number, strange in enumerate((np.inf, -np.inf, np.nan, 60000.0)):
        values[place < 0.02 - number * 0.005] = strange
    return values


def of_all_sizes(rng, shape):
    return noise(rng, shape) * 10.0 ** rng.integers(-40, 38, shape)


KINDS = [noise, smooth, ties, last_bits, not_finite, of_all_sizes]


def stock(logits, shape, *, axis):
    import torch
    from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

    spacing = [5.0 if other == axis else 1.0 for other in range(3)]
    resampled = resample_torch_fornnunet(
        torch.from_numpy(logits),
        shape,
        spacing,
        spacing,
        is_seg=False,
        num_threads=1,
        force_separate_z=axis is not None,
    )
    return resampled.argmax(0).numpy()


def is_as_stock(logits, shape):
    for axis in AXES:
        ours = label_map(logits, shape, separate_axis=axis)
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, stock(logits, shape, axis=axis), err_msg=f"separate axis {axis}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("old", "new"), SHAPES.values(), ids=SHAPES.keys())
def test_labels_are_those_of_nnunet_in_torch(old, new, kind):
    for classes, dtype in ((3, np.float32), (26, np.float32), (26, np.float16)):
        with np.errstate(over="ignore"):
            logits = kind(np.random.default_rng(4), (classes, *old)).astype(np.float32).astype(dtype)
        is_as_stock(logits, new)


def test_random_shapes_are_as_by_nnunet():
    rng = np.random.default_rng(5)
    for _ in range(60):
        old, new = rng.integers(2, 14, 3), rng.integers(1, 40, 3)
        kind = KINDS[rng.integers(len(KINDS))]
        with np.errstate(over="ignore"):
            logits = kind(rng, (int(rng.integers(1, 9)), *old)).astype(np.float32)
        is_as_stock(logits, tuple(int(size) for size in new))


@pytest.mark.slow
def test_a_processor_without_fused_multiply_add_gives_its_own_rounding():
    program = (
        "import numpy as np, torch, test_export as t\n"
        "assert torch.backends.cpu.get_cpu_capability() == 'DEFAULT'\n"
        "for kind in t.KINDS:\n"
        "    logits = kind(np.random.default_rng(6), (5, 9, 11, 10)).astype(np.float32)\n"
        "    t.is_as_stock(logits, (14, 30, 101))\n"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "PYTHONWARNINGS": "ignore"}
    root = Path(__file__).parents[3]
    environment["PYTHONPATH"] = f"{root}{os.pathsep}{Path(__file__).parent}"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=240)


def test_a_winner_by_the_last_bit_loses_where_rounding_makes_a_tie():
    """Both classes round to one value between the corners; then the first class wins, though it wins at no corner."""
    rng = np.random.default_rng(7)
    first = rng.standard_normal((6, 6, 6)).astype(np.float32)
    logits = np.stack([first, np.nextafter(first, np.float32(np.inf))])
    labels = label_map(logits, (14, 15, 80))
    assert (label_map(logits, (6, 6, 6)) == 1).all()
    assert 0 < np.count_nonzero(labels == 0) < labels.size
    np.testing.assert_array_equal(labels, stock(logits, (14, 15, 80), axis=None))


@pytest.mark.parametrize("axis", AXES)
def test_the_number_of_threads_and_the_order_in_memory_change_nothing(axis):
    logits = np.random.default_rng(8).standard_normal((7, 20, 11, 13)).astype(np.float32)
    expected = label_map(logits, (47, 80, 60), separate_axis=axis, threads=1)
    turned = np.asfortranarray(logits)
    turned.flags.writeable = False
    np.testing.assert_array_equal(label_map(turned, (47, 80, 60), separate_axis=axis, threads=3), expected)


def test_255_classes_are_told_apart():
    logits = np.random.default_rng(9).standard_normal((255, 4, 4, 4)).astype(np.float32)
    logits[254, :2] += 100
    labels = label_map(logits, (9, 9, 80))
    assert labels.max() == 254
    np.testing.assert_array_equal(labels, stock(logits, (9, 9, 80), axis=None))


def test_noise_takes_little_memory_beside_the_two_label_maps():
    logits = np.random.default_rng(10).standard_normal((26, 20, 20, 20)).astype(np.float32)
    label_map(logits, (100, 100, 100), threads=2)
    tracemalloc.start()
    label_map(logits, (100, 100, 100), threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100**3 + 20**3 + 200_000


@pytest.mark.parametrize(
    ("logits", "shape"),
    [
        (np.zeros((256, 2, 2, 2), np.float32), (3, 3, 3)),
        (np.zeros((3, 2, 2), np.float32), (3, 3, 3)),
        (np.zeros((3, 2, 2, 2), np.float64), (3, 3, 3)),
        (np.zeros((3, 0, 2, 2), np.float32), (3, 3, 3)),
        (np.zeros((0, 2, 2, 2), np.float32), (3, 3, 3)),
        (np.zeros((3, 2, 2, 2), np.float32), (3, 0, 3)),
        (np.zeros((3, 2, 2, 2), np.float32), (3, 3)),
    ],
)
def test_what_is_no_volume_of_logits_is_refused_with_its_shape(logits, shape):
    with pytest.raises(UnfitLogitsError, match=r"logits of shape \(\d+, .*expected \(class, a, b, c\)"):
        label_map(logits, shape)
