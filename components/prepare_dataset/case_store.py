"""Prepared cases kept by the content that they were made from: what is there already is not prepared again.

The store lies beside the output, on the same volume: the data set is linked from it, so nothing is held twice. An
interrupted run leaves the cases that it finished; another source, label map or format makes a new key.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from components.prepare_dataset.fingerprints import Fingerprint
from components.prepare_dataset.raw_case import RawCase
from spine.dataset import Finding, Scan
from spine.errors import InvalidValueError, SpinelineError
from spine.records import Record
from spine.storage import atomic_folder, digest_file, digest_value

IMAGE_FILE, LABELS_FILE = "image.nii.gz", "labels.nii.gz"
FORMAT: Final = 1
"""Raise it where the same raw case comes to other findings, another row or other files: all are prepared again then."""
_ROW_FILE, _PRINT_FILE = "row.json", "fingerprint.npz"


class PreparedRow(Scan):
    """An accepted case before splits are drawn."""

    patient: str | None
    """A pseudonym of the DICOM patient."""
    hu_counts: tuple[int, ...]
    """Voxels by HU, for the report's histogram."""


class StoredCase(Record):
    """What came of one raw case: its findings, and its row unless it was rejected."""

    case: str
    findings: tuple[Finding, ...]
    row: PreparedRow | None
    files: dict[str, str]
    """Digests of what lies beside this record, by name."""


@dataclass(frozen=True)
class Entry:
    """One case of the store; ``folder`` is None where its files could not be read at all."""

    stored: StoredCase
    folder: Path | None
    was_there: bool = False

    def fingerprint(self) -> Fingerprint:
        """Read the fingerprint of an accepted case."""
        if self.folder is None:
            raise InvalidValueError("case", self.stored.case, expected="an accepted case")
        with np.load(self.folder / _PRINT_FILE) as kept:
            return Fingerprint(labels=tuple(kept["labels"].tolist()), cells=kept["cells"].astype(np.float32))


class CaseStore:
    """The folder of prepared cases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, raw: RawCase, *, within: Path) -> str:
        """Return the digest of all that a case is made from; reads every file of it."""
        files = {file.relative_to(within).as_posix(): digest_file(file) for file in raw.files()}
        return digest_value(
            {
                "format": FORMAT,
                "case": raw.case,
                "files": files,
                "duplicates": [path.name for path in raw.duplicates],
                "label_map": raw.label_map.described(),
            }
        ).removeprefix("sha256:")

    def find(self, key: str) -> Entry | None:
        """Return the entry of a key if it is there and its files are those that were written."""
        folder = self.folder / key
        if not (folder / _ROW_FILE).is_file():
            return None
        try:
            stored = StoredCase.read(folder / _ROW_FILE)
        except SpinelineError:
            return None
        is_whole = all(_digest(folder / name) == digest for name, digest in stored.files.items())
        return Entry(stored=stored, folder=folder, was_there=True) if is_whole else None

    @contextlib.contextmanager
    def adding(self, key: str) -> Iterator[Path]:
        """Yield a folder that becomes the entry of ``key`` as a whole."""
        with atomic_folder(self.folder / key) as partial:
            yield partial

    def keep_only(self, folders: Iterable[Path]) -> None:
        """Remove entries that are of no use any more, and what killed runs left."""
        kept = {folder.name for folder in folders}
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store for one run; raises InvalidValueError while another one holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = "one run at a time on an output"
                raise InvalidValueError("output in work", str(self.folder), expected=message) from error
            # Released by the system when the process ends, however it ends.
            yield


def write_entry(folder: Path, stored: StoredCase, fingerprint: Fingerprint | None) -> None:
    """Write a case's sealed record, and its fingerprint where it was accepted."""
    if fingerprint:
        cells = fingerprint.cells.astype(np.float16)
        np.savez(folder / _PRINT_FILE, labels=np.array(fingerprint.labels), cells=cells)
    known = {IMAGE_FILE: stored.row.image_sha256, LABELS_FILE: stored.row.labels_sha256} if stored.row else {}
    files = {path.name: known.get(path.name) or digest_file(path) for path in sorted(folder.iterdir())}
    stored.model_copy(update={"files": files}).write(folder / _ROW_FILE)


def _digest(path: Path) -> str:
    return digest_file(path) if path.is_file() else ""
