"""Checkpoints that are whole or absent, verified by digest before a byte of them is interpreted."""

from pathlib import Path
from typing import Any

import torch

from spine.errors import DigestMismatchError
from spine.storage import atomic_file, digest_file, write_text

FINAL = "checkpoint_final.pth"
_KEPT = 2


def save(checkpoint: dict[str, Any], path: Path) -> str:
    """Write a checkpoint atomically, then its digest beside it; return the digest."""
    with atomic_file(path) as partial:
        torch.save(checkpoint, partial)
    digest = digest_file(path)
    write_text(_seal(path), digest + "\n")
    return digest


def load(path: Path, *, digest: str, device: torch.device | None = None) -> dict[str, Any]:
    """Load a checkpoint as data only, after its content was found to have ``digest``.

    Raises DigestMismatchError before anything is unpickled.
    """
    found = digest_file(path)
    if found != digest:
        raise DigestMismatchError(path, found=found, expected=digest)
    return dict(torch.load(path, map_location=device or torch.device("cpu"), weights_only=True))


def sealed_digest(path: Path) -> str:
    """Return the digest that was written beside a checkpoint."""
    return _seal(path).read_text(encoding="utf-8").strip()


def save_periodic(checkpoint: dict[str, Any], folder: Path, *, epoch: int) -> None:
    """Write the checkpoint of an epoch's end and drop all but the two newest."""
    save(checkpoint, folder / f"checkpoint_epoch_{epoch:05d}.pth")
    for outdated in _periodic(folder)[:-_KEPT]:
        outdated.unlink()
        _seal(outdated).unlink(missing_ok=True)


def newest_verified(folder: Path) -> tuple[Path, str] | None:
    """Return the newest periodic checkpoint whose content has the digest beside it, with that digest."""
    for path in reversed(_periodic(folder)):
        if _seal(path).is_file() and digest_file(path) == sealed_digest(path):
            return path, sealed_digest(path)
    return None


def drop_periodic(folder: Path) -> None:
    """Remove the periodic checkpoints of a fold that is complete."""
    for path in _periodic(folder):
        path.unlink()
        _seal(path).unlink(missing_ok=True)


def _periodic(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint_epoch_*.pth"))


def _seal(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
