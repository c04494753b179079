"""Halves (IEEE 754 binary16) in compiled loops, as their bits in uint16: numba knows no halves on a processor."""

# mypy: disallow-untyped-calls=False
# What numba compiles takes its types from its first call.

import numpy as np

from spine.volume.compiled import compiled

_LEAST_NORMAL = np.uint32(0x38800000)
_BEYOND = np.uint32(0x47800000)
_INFINITE = np.uint32(0x7F800000)


@compiled
def of_half(half):  # type: ignore[no-untyped-def]
    """Return the float32 that the bits of a half stand for; processors are slow where a float32 is subnormal."""
    size = np.uint32(half & 0x7FFF)
    bias = np.uint32(0x70000000) if size >= np.uint32(0x7C00) else np.uint32(0x38000000)
    value = np.uint32(np.uint32(size << np.uint32(13)) + bias).view(np.float32)
    small = np.float32(np.int32(size)) * np.float32(2.0**-24)
    value = small if size < np.uint32(0x0400) else value
    return -value if half & 0x8000 else value


@compiled
def to_half(value):  # type: ignore[no-untyped-def]
    """Return the bits of the half next to a float32, the even one of two as near; NaN is a NaN without payload."""
    bits = np.float32(value).view(np.uint32)
    size = np.uint32(bits & np.uint32(0x7FFFFFFF))
    rounded = np.uint32(size + np.uint32(0x0FFF) + np.uint32((size >> np.uint32(13)) & np.uint32(1)))
    half = np.uint32(np.uint32(rounded - np.uint32(0x38000000)) >> np.uint32(13))
    # Beside 1/2, float32 has steps of 2^-24, as the halves below 2^-14 have.
    small = np.uint32(np.float32(abs(value) + np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000))
    half = small if size < _LEAST_NORMAL else half
    half = np.uint32(0x7C00) if size >= _BEYOND else half
    half = np.uint32(0x7E00) if size > _INFINITE else half
    return np.uint16(half | np.uint32((bits >> np.uint32(16)) & np.uint32(0x8000)))


@compiled
def add_weighted(sums, totals, values, weights, start):  # type: ignore[no-untyped-def]
    """Add ``values`` (c, k, j, i) times ``weights`` (k, j, i), and the weights, to what begins at ``start``.

    ``sums`` (c, …) and ``totals`` take them; ``values`` are float32, the others halves. Each product and each sum is
    rounded to float32, then the sum to a half.
    """
    channels, planes, lines, size = values.shape
    first = start[2]
    factors = np.empty(size, np.float32)
    for k in range(planes):
        for j in range(lines):
            total = totals[start[0] + k, start[1] + j, first : first + size]
            for i in range(size):
                factors[i] = of_half(weights[k, j, i])
                total[i] = to_half(of_half(total[i]) + factors[i])
            for c in range(channels):
                row, line = values[c, k, j], sums[c, start[0] + k, start[1] + j, first : first + size]
                for i in range(size):
                    line[i] = to_half(of_half(line[i]) + row[i] * factors[i])
