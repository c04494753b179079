"""A fold's checkpoints as files: their names, which is the newest, and whether it is what its digest says."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spine.errors import DigestMismatchError
from spine.storage import digest_file

FINAL = "checkpoint_final.pth"
KEPT = 2
SEAL_SUFFIX, REJECTED_SUFFIX = ".sha256", ".rejected"
_PERIODIC = re.compile(r"checkpoint_epoch_(\d{5})_iteration_(\d{6})\.pth")
_FINAL_POSITION = (1 << 31, 0)


@dataclass(frozen=True, order=True)
class Position:
    """How far a training is: whole epochs, and iterations of the one after them."""

    epoch: int
    iteration: int = 0

    @property
    def file_name(self) -> str:
        """Name of the checkpoint that is written here; names sort as positions do."""
        return f"checkpoint_epoch_{self.epoch:05d}_iteration_{self.iteration:06d}.pth"


def position_of(name: str) -> Position | None:
    """Return the position that a checkpoint's name tells; the final one is behind all others."""
    if name == FINAL:
        return Position(*_FINAL_POSITION)
    found = _PERIODIC.fullmatch(name)
    return Position(int(found[1]), int(found[2])) if found else None


def seal_of(path: Path) -> Path:
    """Return where the digest of a checkpoint stands."""
    return path.with_name(path.name + SEAL_SUFFIX)


def sealed_digest(path: Path) -> str:
    """Return the digest that was written beside a checkpoint."""
    return seal_of(path).read_text(encoding="utf-8", errors="replace").strip()


def drop_outdated(folder: Path) -> None:
    """Drop all but the two newest checkpoints of a fold; beside a final one no other is needed."""
    for outdated in held(folder)[1 if (folder / FINAL).is_file() else KEPT :]:
        drop(outdated)


def drop(path: Path) -> None:
    """Remove a checkpoint, then its digest."""
    path.unlink(missing_ok=True)
    seal_of(path).unlink(missing_ok=True)


def held(folder: Path) -> list[Path]:
    """Return a fold's checkpoints, the newest first; a final one is newer than any other."""
    found = [(position_of(path.name), path) for path in folder.glob("checkpoint_*.pth")]
    return [path for _, path in sorted(((at, path) for at, path in found if at), reverse=True)]


def verify(path: Path) -> str:
    """Return the digest of a checkpoint that is what its digest says; raises DigestMismatchError."""
    expected = sealed_digest(path) if seal_of(path).is_file() else "a digest beside it"
    found = digest_file(path)
    if found != expected:
        raise DigestMismatchError(path, found=found, expected=expected)
    return found


def newest_verified(folder: Path, *, on_rejected: Callable[[str], None]) -> tuple[Path, str] | None:
    """Return a fold's newest checkpoint that verifies, with its digest; each that doesn't is told and set aside."""
    for path in held(folder):
        try:
            return path, verify(path)
        except DigestMismatchError as error:
            on_rejected(str(error))
            reject(path)
    return None


def reject(path: Path) -> None:
    """Set a checkpoint aside under a name that is no checkpoint's: it must not pass for newer than those to come."""
    path.replace(path.with_name(path.name + REJECTED_SUFFIX))
    seal_of(path).unlink(missing_ok=True)
