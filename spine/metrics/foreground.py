"""Label maps without their background: only the 8-voxel words that hold bone, block by block."""

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


def flat(array: NDArray[np.uint8], *, column_major: bool) -> NDArray[np.uint8]:
    """Return the voxels in one dimension, without a copy where the memory already has this order.

    Raises InvalidValueError where the array is not uint8: a wider type would be read as other labels.
    """
    if array.dtype != np.uint8:
        raise InvalidValueError("dtype of a label map", str(array.dtype), expected="uint8 (as read_labels gives)")
    return array.ravel(order="F" if column_major else "C")


def bone_words(
    *, maps: Sequence[NDArray[np.uint8]]
) -> Iterator[tuple[NDArray[np.intp], tuple[NDArray[np.uint8], ...]]]:
    """Yield, block by block, the words of 8 voxels in which any of the flat ``maps`` holds a label.

    Each block is (word numbers of shape (n,), one array of shape (8 n,) a map); word w covers the voxels 8 w
    to 8 w + 7, and voxels past the end of the map are 0. Raises InvalidValueError for a label above 25.
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


def bone_voxels(flat_map: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """Yield, block by block, the flat positions and the labels (both of shape (n,)) of all bone voxels."""
    for numbers, (voxels,) in bone_words(maps=[flat_map]):
        inside = np.flatnonzero(voxels)
        yield numbers[inside // _WORD] * _WORD + inside % _WORD, voxels[inside]


def _words(block: NDArray[np.uint8]) -> NDArray[np.uint64]:
    missing = -block.size % _WORD
    return (np.pad(block, (0, missing)) if missing else block).view(np.uint64)
