"""Checkpoints that are whole or absent, verified by digest before a byte of them is interpreted."""

from pathlib import Path
from typing import Any

import torch

from spine.errors import DigestMismatchError, SpinelineError
from spine.nnunet.checkpoint_files import seal_of
from spine.storage import atomic_file, digest_file, flush, write_text


class ForeignCheckpointError(SpinelineError):
    """A checkpoint was written by the training of another plan or recipe."""

    def __init__(self, path: Path, *, what: str, found: str, expected: str) -> None:
        super().__init__(f"{path}: belongs to {what} {found}; expected a checkpoint of {what} {expected}")


def save(checkpoint: dict[str, Any], path: Path) -> str:
    """Write a checkpoint atomically, its digest before it takes its name; return the digest.

    A crash leaves a digest without its checkpoint at the worst, never a checkpoint without its digest.
    """
    with atomic_file(path) as partial:
        torch.save(checkpoint, partial)
        digest = digest_file(partial)
        write_text(seal_of(path), digest + "\n")
    flush(path.parent)
    return digest


def load(path: Path, *, digest: str, device: torch.device | None = None) -> dict[str, Any]:
    """Load a checkpoint as data only, after its content was found to have ``digest``.

    Raises DigestMismatchError before anything is unpickled.
    """
    found = digest_file(path)
    if found != digest:
        raise DigestMismatchError(path, found=found, expected=digest)
    return dict(torch.load(path, map_location=device or torch.device("cpu"), weights_only=True))
