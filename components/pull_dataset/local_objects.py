"""The objects that lie on this machine, by their hash: every revision below the root is made of links to them."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from spine.errors import DigestMismatchError
from spine.objects import Block
from spine.storage import flush, link, out_of_space_named, write_text

_PARTIAL = ".partial-"
_FLUSHES = 16
"""Files that are flushed at once: a journal commits those that wait for it together."""


class DamagedObjectError(DigestMismatchError):
    """An object's content is not what its name says."""

    def __init__(self, md5: str, *, found: str, path: str = "the listing") -> None:
        self.found = found
        super().__init__(f"object {md5} for {path}", found=found, expected=_content(md5))


class LocalObjects:
    """Whole objects below ``folder``, named by MD5; what is being written lies beside them until checked."""

    def __init__(self, folder: Path, *, partial: Path) -> None:
        self._folder = folder
        self._partial = partial

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator["LocalObjects"]:
        """Open the objects for one pull at a time; what a killed pull left half-written goes."""
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / ".lock"):
            for left in folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(left, ignore_errors=True)
            # A name of its own: where a file system knows no locks, two pulls must not write one file.
            partial = Path(tempfile.mkdtemp(dir=folder, prefix=_PARTIAL))
            try:
                yield cls(folder, partial=partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def path(self, md5: str) -> Path:
        """Return where the object lies, or would."""
        return self._folder / "md5" / md5[:2] / md5[2:]

    def size_if_whole(self, md5: str) -> int | None:
        """Return an object's bytes, read again and found to be whole; None where it is absent or was damaged."""
        path = self.path(md5)
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, _md5).hexdigest()
            if found == _content(md5):
                return stream.tell()
        path.unlink()
        return None

    def add(self, md5: str, blocks: Iterable[Block]) -> None:
        """Write an object, hash it on the way and give it its name; raises DamagedObjectError where it is another."""
        partial, target, digest = self._partial / md5, self.path(md5), _md5()
        with out_of_space_named(partial):
            try:
                with partial.open("wb") as stream:
                    for block in blocks:
                        digest.update(block)
                        stream.write(block)
                    # Not read-only: nnU-Net copies dataset.json with its mode, over an earlier copy of its own.
                    os.fchmod(stream.fileno(), 0o644)
                    stream.flush()
                    _begin_flush(stream.fileno())
                if digest.hexdigest() != _content(md5):
                    raise DamagedObjectError(md5, found=digest.hexdigest())
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

    def note_failures(self, message: Sequence[str]) -> Path:
        """Keep the whole list of what a pull could not get, and return its file."""
        path = self._folder / "unavailable.txt"
        write_text(path, "\n".join(message) + "\n")
        return path

    def link(self, md5: str, target: Path) -> None:
        """Put an object at ``target``, as a link, or as a copy where the file system refuses one."""
        link(self.path(md5), target)


def flush_all(paths: Iterable[Path]) -> None:
    """Bring files to the disk, so that a machine without power loses none of them."""
    with ThreadPoolExecutor(_FLUSHES) as pool:
        for _ in pool.map(flush, paths):
            pass


def _begin_flush(handle: int) -> None:
    """Have the system write a file to the disk from now on, without waiting: at the end, little is left to wait for."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process holds ``lock``; a killed one lets go of it."""
    with lock.open("w") as stream:
        # Some network file systems know no locks: there, the second of two pulls at once may fail, and harms nothing.
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _content(md5: str) -> str:
    return md5.removesuffix(".dir")


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
