"""Compiled loops of the export: the winners on the network's grid, and the voxels between winners that differ."""

# mypy: disallow-untyped-calls=False
# What numba compiles takes its types from its first call.

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from spine.volume.compiled import compiled
from spine.volume.float16 import of_half

UNSURE = 255
"""Stands in a map of winners where the winner may not be the winner of an interpolation."""
_BLOCK = 4096
_LARGE = np.float32(1e37)
_CLOSE = np.float32(2.0**-20)
_TINY = np.float32(1e-30)


@compiled
def winners(logits, labels, first, last, marks_unsure):  # type: ignore[no-untyped-def]
    """Write the arg-max of ``logits`` (C, n) to ``labels`` (n,) from ``first`` to ``last``.

    NaN wins over numbers, as in torch and numpy; of equal values the first class wins.

    With ``marks_unsure``, UNSURE is written where a logit is not finite, or where the winner beats a class before it by
    so little that both could be rounded to one value once they are interpolated (then the class before would win).
    Interpolation rounds six times, each by at most 2^-24 of the values: the margin is more than twice that.
    """
    best = np.empty(_BLOCK, np.float32)
    label = np.empty(_BLOCK, np.int32)
    is_close = np.empty(_BLOCK, np.int32)
    is_strange = np.empty(_BLOCK, np.int32)
    for start in range(first, last, _BLOCK):
        size = min(_BLOCK, last - start)
        values = logits[0, start : start + size]
        for i in range(size):
            value = _as_float(values[i])
            best[i], label[i], is_close[i] = value, 0, 0
            is_strange[i] = not abs(value) < _LARGE
        for channel in range(1, logits.shape[0]):
            values = logits[channel, start : start + size]
            for i in range(size):
                value, before = _as_float(values[i]), best[i]
                wins = (value > before) | ((value != value) & (before == before))
                margin = _CLOSE * (abs(value) + abs(before)) + _TINY
                is_close[i] = (not value - before > margin) if wins else is_close[i]
                is_strange[i] |= not abs(value) < _LARGE
                best[i] = value if wins else before
                label[i] = channel if wins else label[i]
        for i in range(size):
            labels[start + i] = UNSURE if marks_unsure and (is_close[i] | is_strange[i]) else label[i]


@compiled
def fill(logits, labels, corners, weights, is_flat, is_fused, filled, first, last):  # type: ignore[no-untyped-def]
    """Write the planes ``first`` to ``last`` of ``filled`` (A, B, C) from the winners ``labels`` (a, b, c).

    ``corners`` are three arrays (2, size) of the two positions on either side of each new one along an axis,
    ``weights`` their weights. With ``is_flat``, the first axis is not interpolated: both sides are the nearest plane.
    New voxels that lie between the same four rows are worked on together.
    """
    size = (_longest_run(corners[0], first, last), _longest_run(corners[1], 0, filled.shape[1]), filled.shape[2])
    best, winner = np.empty(size, np.float32), np.empty(size, np.int32)
    shared, row = np.empty(labels.shape[2], np.uint8), np.empty(filled.shape[2], np.uint8)
    mixed = np.empty(filled.shape[2], np.int64)
    plane = first
    while plane < last:
        planes = slice(plane, _end_of_run(corners[0], plane, last))
        a, b = corners[0][0, plane], corners[0][1, plane]
        line = 0
        while line < filled.shape[1]:
            lines = slice(line, _end_of_run(corners[1], line, filled.shape[1]))
            c, d = corners[1][0, line], corners[1][1, line]
            _share(labels[a, c], labels[a, d], labels[b, c], labels[b, d], shared)
            count = _stretch(shared, corners[2], row, mixed)
            filled[planes, lines] = row
            if count:
                rows = (logits[:, a, c], logits[:, a, d], logits[:, b, c], logits[:, b, d])
                around = (weights[0][:, planes], weights[1][:, lines], weights[2])
                _interpolate(rows, mixed[:count], corners[2], around, is_flat, is_fused, best, winner)
                _scatter(winner, mixed[:count], filled[planes, lines])
            line = lines.stop
        plane = planes.stop


@compiled
def _end_of_run(corners, start, last):  # type: ignore[no-untyped-def]
    """Return the end of the new positions from ``start`` on that lie between the same two old ones."""
    end = start + 1
    while end < last and corners[0, end] == corners[0, start] and corners[1, end] == corners[1, start]:
        end += 1
    return end


@compiled
def _longest_run(corners, first, last):  # type: ignore[no-untyped-def]
    longest, start = 0, first
    while start < last:
        end = _end_of_run(corners, start, last)
        longest, start = max(longest, end - start), end
    return longest


@compiled
def _share(first, second, third, fourth, shared):  # type: ignore[no-untyped-def]
    for i in range(len(shared)):
        is_shared = (first[i] == second[i]) & (first[i] == third[i]) & (first[i] == fourth[i])
        shared[i] = first[i] if is_shared else UNSURE


@compiled
def _stretch(shared, corners, row, mixed):  # type: ignore[no-untyped-def]
    """Write the row of winners, and the positions where there is none; return the number of these."""
    count = 0
    for i in range(len(row)):
        label = shared[corners[0, i]]
        row[i] = label if label == shared[corners[1, i]] else UNSURE
        mixed[count] = i
        count += row[i] == UNSURE
    return count


@compiled
def _interpolate(rows, where, corners, weights, is_flat, is_fused, best, winner):  # type: ignore[no-untyped-def]
    """Find the winners at the columns ``where`` of the lines and planes between four rows (C, c) of logits.

    In torch's order: along the columns, then the lines, then the planes.
    """
    planes, lines, columns = weights
    size, begin, end = len(where), corners[0, where[0]], corners[1, where[-1]] + 1
    decoded, along = np.empty(end - begin, np.float32), np.empty((4, size), np.float32)
    low, high, mixed = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    best[: planes.shape[1], : lines.shape[1], :size] = -np.inf
    winner[: planes.shape[1], : lines.shape[1], :size] = 0
    for channel in range(len(rows[0])):
        for side in range(4):
            _decode(rows[side][channel, begin:end], decoded)
            for k in range(size):
                i = where[k]
                near, far = decoded[corners[0, i] - begin], decoded[corners[1, i] - begin]
                along[side, k] = _between(near, columns[0, i], far, columns[1, i], is_fused)
        for line in range(lines.shape[1]):
            _mix(along[0], lines[0, line], along[1], lines[1, line], is_fused, low)
            _mix(along[2], lines[0, line], along[3], lines[1, line], is_fused, high)
            for plane in range(planes.shape[1]):
                if not is_flat:
                    _mix(low, planes[0, plane], high, planes[1, plane], is_fused, mixed)
                _compete(low if is_flat else mixed, channel, best[plane, line], winner[plane, line])


@compiled
def _decode(values, decoded):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        decoded[i] = _as_float(values[i])


@compiled
def _mix(low, low_weight, high, high_weight, is_fused, mixed):  # type: ignore[no-untyped-def]
    if is_fused:
        for k in range(len(mixed)):
            mixed[k] = _fused(low[k], low_weight, high[k] * high_weight)
    else:
        for k in range(len(mixed)):
            mixed[k] = low[k] * low_weight + high[k] * high_weight


@compiled
def _compete(values, channel, best, winner):  # type: ignore[no-untyped-def]
    for k in range(len(values)):
        value, before = values[k], best[k]
        wins = (value > before) | ((value != value) & (before == before))
        best[k] = value if wins else before
        winner[k] = channel if wins else winner[k]


@compiled
def _scatter(winner, where, filled):  # type: ignore[no-untyped-def]
    for plane in range(filled.shape[0]):
        for line in range(filled.shape[1]):
            for k in range(len(where)):
                filled[plane, line, where[k]] = winner[plane, line, k]


@compiled
def _between(low, low_weight, high, high_weight, is_fused):  # type: ignore[no-untyped-def]
    rest = high * high_weight
    return _fused(low, low_weight, rest) if is_fused else low * low_weight + rest


@intrinsic
def _fused(_typing, a, b, c):  # type: ignore[no-untyped-def]
    """Return a × b + c of float32, rounded once."""
    return types.float32(a, b, c), lambda _, builder, __, arguments: builder.fma(*arguments)


def _as_float(value):  # type: ignore[no-untyped-def]
    raise NotImplementedError


@overload(_as_float)
def _of_kind(value):  # type: ignore[no-untyped-def]
    return (lambda value: of_half(value)) if value == types.uint16 else lambda value: value
