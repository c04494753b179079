"""A blob store: a place of named contents, in a folder or on S3, that several machines read and write at once."""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from spine.errors import InvalidValueError, SpinelineError
from spine.storage import atomic_file, flush, out_of_space_named

_SETTLES_NS = 100_000_000
"""How long after a change a file's times may still be those of another change: clocks of file systems tick coarsely."""
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class BlobStoreError(SpinelineError):
    """A blob store does not give or take a content."""

    def __init__(self, place: str, *, reason: str, expected: str = "a place that can be read and written") -> None:
        self.place = place
        super().__init__(f"{place}: {' '.join(reason.split())}; expected {expected}")


class BlobStoreUnreachableError(BlobStoreError):
    """A blob store is unreachable: no answer, no credentials, no such bucket, or a share that is not mounted."""


class BlobMissingError(BlobStoreError):
    """A blob store has no content of a name."""

    def __init__(self, place: str) -> None:
        super().__init__(place, reason="not found", expected="a content of this name")


class BlobStore(Protocol):
    """Contents by name; a name may have ``/`` in it, and what begins with a dot is not listed.

    Every method raises BlobStoreUnreachableError where the place is away and BlobStoreError where it refuses.
    """

    @property
    def place(self) -> str:
        """The folder, or ``s3://bucket/prefix``."""

    def listed(self, prefix: str = "") -> dict[str, str]:
        """Return the names that begin with ``prefix``, sorted, each with a stamp that changes with its content."""

    def read(self, name: str) -> bytes:
        """Return a content; raises BlobMissingError."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a content only if nobody has the name, whole or not at all; return False where it is taken."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a content, whatever had the name before."""

    def remove(self, name: str) -> None:
        """Remove a content, if it is there."""

    def send(self, name: str, path: Path) -> None:
        """Write the content of a file."""

    def fetch(self, name: str, target: Path) -> None:
        """Bring a content into a file, whole or not at all; raises BlobMissingError."""

    def neighbour(self, name: str) -> "BlobStore":
        """Return the blob store ``name`` beside this one."""


class FolderBlobStore:
    """Contents as files below a folder, which is made when the first one comes.

    With ``anchor``, a folder that must be there already, a share that is not mounted is told from an empty blob store.
    """

    def __init__(self, folder: Path, *, anchor: Path | None = None) -> None:
        self._folder, self._anchor = folder, anchor

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def listed(self, prefix: str = "") -> dict[str, str]:
        """List files; a stamp is the time of a file's last change, which nobody can set back, its number and size."""
        with self._translate_errors(prefix):
            # The clock of the file system's own machine would be better, and costs a file.
            now_ns = time.time_ns()
            return dict(sorted(_stamps(self._folder, "", prefix, now_ns)))

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self._translate_errors(name):
            return self._path(name).read_bytes()

    def create(self, name: str, content: bytes) -> bool:
        """Link a file that is written whole to its name, which succeeds for one of several writers."""
        path = self._path(name)
        with self._translate_errors(name), out_of_space_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(partial).chmod(0o444)
                return _linked(Path(partial), path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    Path(partial).unlink()

    def replace(self, name: str, content: bytes) -> None:
        """Put a whole file in place of another."""
        with self._translate_errors(name), atomic_file(self._path(name)) as partial:
            partial.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._translate_errors(name):
            self._path(name).unlink(missing_ok=True)

    def send(self, name: str, path: Path) -> None:
        """Copy a file into the folder."""
        with self._translate_errors(name), atomic_file(self._path(name)) as partial:
            shutil.copyfile(path, partial)

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file out of the folder."""
        with self._translate_errors(name), atomic_file(target) as partial:
            shutil.copyfile(self._path(name), partial)

    def neighbour(self, name: str) -> "FolderBlobStore":
        """Return the folder beside this one."""
        return FolderBlobStore(self._folder.with_name(name), anchor=self._anchor)

    def _path(self, name: str) -> Path:
        return self._folder / checked_name(name)

    @contextlib.contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        place = str(self._folder / name)
        if self._anchor and not self._anchor.is_dir():
            raise BlobStoreUnreachableError(
                place, reason=f"{self._anchor} is not there", expected="a folder, or its share"
            )
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == place:
                raise BlobMissingError(place) from error
            kind = BlobStoreError if error.errno in _REFUSED else BlobStoreUnreachableError
            raise kind(place, reason=(error.strerror or str(error)).lower()) from error


def checked_name(name: str) -> str:
    """Return a name that leads to no other place; raises InvalidValueError."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidValueError("name", name, expected="names between slashes")
    return name


def _stamps(folder: Path, before: str, prefix: str, now_ns: int) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = before + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if name.startswith(prefix) or prefix.startswith(f"{name}/"):
                    yield from _stamps(folder / entry.name, f"{name}/", prefix, now_ns)
            elif name.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    yield name, _stamp(entry.stat(), now_ns)


def _stamp(status: os.stat_result, now_ns: int) -> str:
    stamp = f"{status.st_ctime_ns}-{status.st_size}-{status.st_ino}"
    # So soon after a change, a second one may leave the same times behind: such a stamp holds but once.
    return stamp if abs(now_ns - status.st_ctime_ns) > _SETTLES_NS else f"{stamp}-{now_ns}"


def _linked(partial: Path, path: Path) -> bool:
    try:
        os.link(partial, path)
    except FileExistsError:
        # The answer of a network share may get lost, and the link be made all the same.
        if partial.stat().st_nlink == 1:
            return False
    flush(path.parent)
    return True
