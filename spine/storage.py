"""Files that are whole or absent: atomic writes, digests and strict JSON."""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spine.errors import MalformedFileError, MissingPathError, OutOfSpaceError

_BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def out_of_space_named(path: Path) -> Iterator[None]:
    """Turn the operating system's "disk full" into an error that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpaceError(path) from error
        raise


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and takes the final name."""
    with out_of_space_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept last: writers choose their format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix="-" + path.name)
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.chmod(0o644)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it replaces ``path`` as a whole."""
    with out_of_space_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".partial-{path.name}-"))
        try:
            yield partial
            partial.chmod(0o755)
            if path.exists():
                doomed = Path(tempfile.mkdtemp(dir=path.parent, prefix=".replaced-"))
                path.replace(doomed / path.name)
                partial.replace(path)
                shutil.rmtree(doomed)
            else:
                partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk, so that a machine without power does not lose them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(source: Path, target: Path) -> None:
    """Put a file at ``target`` as a hard link, or as a copy on another volume or where links are refused."""
    with out_of_space_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copy(source, target)


def clear_leftovers(path: Path) -> None:
    """Remove what killed runs left beside ``path`` when they replaced that folder; nobody else may work on it."""
    for partial in path.parent.glob(f".partial-{path.name}-*"):
        shutil.rmtree(partial, ignore_errors=True)
    for doomed in path.parent.glob(".replaced-*"):
        if (doomed / path.name).exists() or not any(doomed.iterdir()):
            shutil.rmtree(doomed, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def strict_json(value: object, *, indent: int | None = None) -> str:
    """Return strict JSON with sorted keys: NaN and infinities become null."""
    return json.dumps(_finite(value), sort_keys=True, indent=indent, allow_nan=False, ensure_ascii=False)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` atomically as strict, readable JSON."""
    write_text(path, strict_json(value, indent=2) + "\n")


def read_json(path: Path, *, expected: str) -> Any:
    """Read a JSON file; a bare NaN, as nnU-Net writes it, is accepted."""
    if not path.is_file():
        raise MissingPathError(path, expected=expected)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise MalformedFileError(path, reason=f"not JSON ({error})", expected=expected) from error


def digest_bytes(content: bytes) -> str:
    """Return ``sha256:…`` of ``content``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_value(value: object) -> str:
    """Return the digest of a value's strict JSON, independent of key order."""
    return digest_bytes(strict_json(value).encode())


def digest_file(path: Path) -> str:
    """Return ``sha256:…`` of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def digest_folder(folder: Path) -> str:
    """Return one digest over the relative names and contents of all files below ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_value({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


def short(digest: str) -> str:
    """Return the first 12 hexadecimal digits of a digest, for folder names and people."""
    return digest.removeprefix("sha256:")[:12]


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
