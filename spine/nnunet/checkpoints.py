"""Checkpoints that are whole or absent, verified by digest before a byte of them is interpreted."""

import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spine.errors import DigestMismatchError, OutOfSpaceError, SpinelineError
from spine.nnunet.checkpoint_files import seal_of
from spine.storage import atomic_file, digest_file, flush, write_text

_FULL_BYTES = 1 << 20
OUR_KEY = "spineline"
FORMAT = 2
"""Of what a checkpoint holds below our key; the first had no number. Checkpoints of later formats are refused."""


class ForeignCheckpointError(SpinelineError):
    """A checkpoint was written by the training of another plan or recipe."""

    def __init__(self, path: Path, *, what: str, found: str, expected: str) -> None:
        super().__init__(f"{path}: belongs to {what} {found}; expected a checkpoint of {what} {expected}")


class UnreadableCheckpointError(SpinelineError):
    """A file is what its digest says, but no checkpoint of tensors and plain data."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: holds other than tensors and plain data; expected a checkpoint of ours")


def save(checkpoint: dict[str, Any], path: Path) -> str:
    """Write a checkpoint atomically, its digest before it takes its name; return the digest.

    A crash leaves a digest without its checkpoint at the worst, never a checkpoint without its digest.
    """
    with atomic_file(path) as partial:
        try:
            torch.save(checkpoint, partial)
        except RuntimeError as error:
            # All that torch says of a disk that fills up.
            if shutil.disk_usage(path.parent).free < _FULL_BYTES:
                raise OutOfSpaceError(path) from error
            raise
        digest = digest_file(partial)
        write_text(seal_of(path), digest + "\n")
    flush(path.parent)
    return digest


def load(path: Path, *, digest: str, device: torch.device | None = None) -> dict[str, Any]:
    """Load a checkpoint as data only, after its content was found to have ``digest``.

    Raises DigestMismatchError before anything is unpickled, UnreadableCheckpointError where what is there is no data.
    """
    found = digest_file(path)
    if found != digest:
        raise DigestMismatchError(path, found=found, expected=digest)
    try:
        with warnings.catch_warnings():
            # torch remarks on pickles of other making; what is no data is refused below, in one line.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return dict(torch.load(path, map_location=device or torch.device("cpu"), weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, TypeError, ValueError, EOFError) as error:
        raise UnreadableCheckpointError(path) from error


def plain(value: Any) -> Any:
    """Turn numpy scalars into Python's: a checkpoint then loads without unpickling objects."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
