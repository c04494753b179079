"""Halves in compiled loops: the same bits as torch's own, subnormal ones, ties and infinities included."""

import numpy as np
import pytest
import torch
from numba import njit

from spine.volume.float16 import add_weighted, of_half, to_half

EVERY = np.arange(1 << 16, dtype=np.uint16)
"""The bits of every half."""


@njit
def _each(work, given, made):
    for i in range(len(given)):
        made[i] = work(given[i])
    return made


def test_every_half_is_decoded_as_by_torch():
    theirs = torch.from_numpy(EVERY.view(np.float16)).float().numpy()
    ours = _each(of_half, EVERY, np.empty(len(EVERY), np.float32))
    np.testing.assert_array_equal(ours, theirs)
    assert (np.signbit(ours) == np.signbit(theirs))[~np.isnan(theirs)].all()


def test_every_half_what_lies_between_two_and_any_bits_are_encoded_as_by_torch():
    rng = np.random.default_rng(3)
    known = EVERY[(EVERY & 0x7FFF) <= 0x7C00].view(np.float16).astype(np.float64)
    with np.errstate(all="ignore"):
        ties = ((known[:-1] + known[1:]) / 2).astype(np.float32)
        beside = [np.nextafter(ties, np.float32(way)) for way in (-np.inf, np.inf)]
        anything = rng.integers(0, 1 << 32, 2_000_000, dtype=np.uint32).view(np.float32)
        small = rng.normal(scale=1e-5, size=200_000).astype(np.float32)
        values = np.concatenate([known.astype(np.float32), ties, *beside, anything, small])
    theirs = torch.from_numpy(values).half().numpy()
    ours = _each(to_half, values, np.empty(len(values), np.uint16))
    is_number = ~np.isnan(values)
    np.testing.assert_array_equal(ours[is_number], theirs.view(np.uint16)[is_number])
    assert np.isnan(ours.view(np.float16)[~is_number]).all()


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4])
def test_windows_are_added_as_by_torch(scale):
    torch.manual_seed(1)
    sums, totals = torch.randn(5, 9, 8, 11).half(), torch.rand(9, 8, 11).half()
    values, weights = torch.randn(5, 4, 3, 6) * 30, (torch.rand(4, 3, 6) * scale).half()
    window = (slice(2, 6), slice(0, 3), slice(5, 11))
    expected, expected_totals = sums.clone(), totals.clone()
    expected[(slice(None), *window)] += values.clone().mul_(weights)
    expected_totals[window] += weights
    halves = (array.numpy().view(np.uint16) for array in (sums, totals))
    add_weighted(*halves, values.numpy(), weights.numpy().view(np.uint16), (2, 0, 5))
    assert torch.equal(sums, expected) and torch.equal(totals, expected_totals)
