"""Label maps without their background: only the voxels that hold bone, block by block, and where they lie."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.labels import MAX_LABEL

_WORD: Final = 8
_BLOCK_VOXELS: Final = 1 << 22  # a multiple of the word; small enough that the temporaries stay near the cache


def is_column_major(array: NDArray[np.uint8]) -> bool:
    """Say whether the first axis runs fastest in memory, as it does in arrays read from NIfTI."""
    return bool(array.flags.f_contiguous and not array.flags.c_contiguous)


def require_label_type(array: NDArray[np.uint8]) -> None:
    """Raise InvalidValueError where a label map is not uint8."""
    if array.dtype != np.uint8:
        raise InvalidValueError("dtype of a label map", str(array.dtype), expected="uint8 (as read_labels gives)")


def flat(array: NDArray[np.uint8], *, column_major: bool) -> NDArray[np.uint8]:
    """Return the voxels in one dimension, without a copy where the memory already has this order.

    Raises InvalidValueError where the array is not uint8: a wider type would be read as other labels.
    """
    require_label_type(array)
    return array.ravel(order="F" if column_major else "C")


def bone_voxels(
    *, maps: Sequence[NDArray[np.uint8]]
) -> Iterator[tuple[tuple[NDArray[np.intp], ...], tuple[NDArray[np.uint8], ...]]]:
    """Yield, block by block, the voxels in which any of the ``maps``, all of one shape, holds a label.

    Each block is (one array of indices an axis, one array of labels a map), all of shape (n,). Raises
    InvalidValueError where a map is not uint8 within 0-25.
    """
    column_major = is_column_major(maps[0])
    for numbers, words in _bone_words([flat(labels, column_major=column_major) for labels in maps]):
        inside = np.flatnonzero(np.bitwise_or.reduce(words))
        positions = numbers[inside // _WORD] * _WORD + inside % _WORD
        indices = np.unravel_index(positions, maps[0].shape, order="F" if column_major else "C")
        yield indices, tuple(labels[inside] for labels in words)


def _bone_words(
    maps: Sequence[NDArray[np.uint8]],
) -> Iterator[tuple[NDArray[np.intp], tuple[NDArray[np.uint8], ...]]]:
    """Yield, block by block, the words of 8 voxels in which any of the flat ``maps`` holds a label.

    Each block is (word numbers of shape (n,), one array of shape (8 n,) a map); word w covers the voxels 8 w
    to 8 w + 7, and voxels past the end of the map are 0.
    """
    for start in range(0, maps[0].size, _BLOCK_VOXELS):
        words = [_words(flat_map[start : start + _BLOCK_VOXELS]) for flat_map in maps]
        occupied = words[0] != 0
        for other in words[1:]:
            occupied |= other != 0
        numbers = np.flatnonzero(occupied)
        if not numbers.size:
            continue
        voxels = tuple(word[numbers].view(np.uint8) for word in words)
        highest = max(int(values.max()) for values in voxels)
        if highest > MAX_LABEL:
            raise InvalidValueError("label", highest, expected=f"0-{MAX_LABEL}")
        yield numbers + start // _WORD, voxels


def _words(block: NDArray[np.uint8]) -> NDArray[np.uint64]:
    missing = -block.size % _WORD
    return (np.pad(block, (0, missing)) if missing else block).view(np.uint64)
