"""Stripes and dots that tell areas apart where colour is lost: arrays of shape (rows, columns), True where marked."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Pattern = Callable[[tuple[int, int]], NDArray[np.bool_]]
_PERIOD: Final = 9
_WIDTH: Final = 3


def rising(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Stripes that run up to the right."""
    rows, columns = np.indices(shape)
    return np.asarray((rows + columns) % _PERIOD < _WIDTH)


def falling(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Stripes that run down to the right."""
    rows, columns = np.indices(shape)
    return np.asarray((rows - columns) % _PERIOD < _WIDTH)


def level(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Stripes from left to right."""
    return np.asarray(np.indices(shape)[0] % (_PERIOD - 1) < _WIDTH)


def upright(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Stripes from top to bottom."""
    return np.asarray(np.indices(shape)[1] % (_PERIOD - 1) < _WIDTH)


def dotted(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Square dots, every second row of them shifted."""
    rows, columns = np.indices(shape)
    shifted = columns + (rows // _PERIOD % 2) * (_PERIOD // 2)
    return np.asarray((rows % _PERIOD < _WIDTH + 2) & (shifted % _PERIOD < _WIDTH + 2))


def chequered(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The fields of a chessboard."""
    rows, columns = np.indices(shape) // (_WIDTH + 2)
    return np.asarray((rows + columns) % 2 == 0)
