"""Loops over voxels compiled for this processor, once a machine where it lets us keep what was compiled."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def compiled(kernel: _Kernel) -> _Kernel:
    """Compile a function on its first call, without the interpreter's lock.

    Numba refuses to keep what it compiles where neither the code's folder, nor the user's, nor ``NUMBA_CACHE_DIR`` can
    be written: then every process compiles anew, which takes seconds.
    """
    try:
        made: _Kernel = njit(cache=True, nogil=True)(kernel)
    except RuntimeError:
        made = njit(nogil=True)(kernel)
    return made
