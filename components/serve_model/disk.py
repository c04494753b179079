"""The server's room on disk: a folder of its own below ``serving/tmp``, gone with it; uploads in it are counted."""

import fcntl
import os
import shutil
import tempfile
import threading
from pathlib import Path

from components.serve_model.errors import FullError, StorageError

_LOCK = ".lock"


class Desk:
    """A folder for one scan; what is stored on it counts until it is cleared."""

    def __init__(self, disk: "Disk", folder: Path) -> None:
        self.folder = folder
        self._disk, self._taken = disk, 0

    def take(self, size_bytes: int) -> None:
        """Count bytes before they are written; raises FullError where the disk's limit is reached."""
        self._disk.take(size_bytes)
        self._taken += size_bytes

    def clear(self) -> None:
        """Remove the folder and give back what it took."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._disk.give_back(self._taken)
        self._taken = 0


class Disk:
    """A folder that only this server writes to, locked while it lives, so that what a killed one left is known."""

    def __init__(self, parent: Path, *, limit_bytes: int) -> None:
        self._parent, self._limit_bytes = parent, limit_bytes
        self._lock, self._taken = threading.Lock(), 0
        self._folder: Path | None = None
        self._handle: int | None = None

    def open(self) -> None:
        """Make the folder, and remove those whose server is gone."""
        self._parent.mkdir(parents=True, exist_ok=True)
        for folder in self._parent.iterdir():
            _remove_if_left(folder)
        self._folder = Path(tempfile.mkdtemp(dir=self._parent))
        self._handle = _locked(self._folder)

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._handle is not None:
            os.close(self._handle)
        self._folder, self._handle = None, None

    @property
    def folder(self) -> Path:
        """The server's own folder; raises StorageError while the disk is not open."""
        if self._folder is None:
            raise StorageError
        return self._folder

    def desk(self) -> Desk:
        """Return an empty desk; raises StorageError where none can be had."""
        try:
            return Desk(self, Path(tempfile.mkdtemp(dir=self.folder)))
        except OSError as error:
            raise StorageError from error

    def take(self, size_bytes: int) -> None:
        """Count bytes that are to be written; raises FullError beyond the limit."""
        with self._lock:
            if self._taken + size_bytes > self._limit_bytes:
                raise FullError
            self._taken += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that were removed."""
        with self._lock:
            self._taken -= size_bytes


def _locked(folder: Path) -> int | None:
    """Return a handle that keeps a folder's lock, or None where another server has it or it is gone."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_if_left(folder: Path) -> None:
    # A server that starts at this moment has made its folder, and not yet its lock.
    if not (folder / _LOCK).exists():
        return
    handle = _locked(folder)
    if handle is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
