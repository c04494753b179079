"""The work on one case, as a worker process does it: find it prepared, or check, convert and keep it."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from components.prepare_dataset.case_store import (
    IMAGE_FILE,
    LABELS_FILE,
    CaseStore,
    Entry,
    PreparedRow,
    StoredCase,
    write_entry,
)
from components.prepare_dataset.checks import CheckedCase, check_case
from components.prepare_dataset.checks.catalogue import finding
from components.prepare_dataset.fingerprints import fingerprint
from components.prepare_dataset.raw_case import RawCase
from spine.dataset import Finding
from spine.labels import NAMES
from spine.storage import digest_file
from spine.volume.nifti import Volume, write_volume

HU_EDGES: Final = tuple(range(-1024, 2049, 32))
"""Bins of the HU histogram; what lies outside is counted in the outermost."""


def prepare_case(raw: RawCase, *, within: Path, store: CaseStore) -> Entry:
    """Return the case's entry in the store, made now unless it was there; ``within`` is the raw folder."""
    try:
        key = store.key(raw, within=within)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        return _unreadable(raw, f"{error.filename or raw.case}: {reason}; expected files that can be read", within)
    known = store.find(key)
    if known:
        return known
    try:
        checked, found = check_case(raw)
    except MemoryError:
        return _unreadable(raw, f"{raw.image}: needs more memory than there is; expected a smaller volume", within)
    findings = tuple(_with_relative_path(each, within) for each in found)
    with store.adding(key) as folder:
        row = _write(folder, checked) if checked else None
        stored = StoredCase(case=raw.case, findings=findings, row=row, files={})
        write_entry(folder, stored, fingerprint(checked.image, checked.anatomy) if checked else None)
    return Entry(stored=stored, folder=store.folder / key)


def crashed(raw: RawCase, *, within: Path) -> Entry:
    """Return the entry of a case whose reading ended the process."""
    place = raw.image or raw.labels or Path(raw.case)
    return _unreadable(raw, f"{place}: reading it ended the process; expected files that can be decoded", within)


def _unreadable(raw: RawCase, message: str, within: Path) -> Entry:
    """Return a refused entry that is not kept: next time, the files may be readable."""
    refused = finding("readable", case=raw.case, value=0, message=_relative(message, within))
    return Entry(stored=StoredCase(case=raw.case, findings=(refused,), row=None, files={}), folder=None)


def _write(folder: Path, checked: CheckedCase) -> PreparedRow:
    write_volume(folder / IMAGE_FILE, checked.image)
    write_volume(folder / LABELS_FILE, checked.labels)
    return PreparedRow(
        patient=checked.patient,
        image_sha256=digest_file(folder / IMAGE_FILE),
        labels_sha256=digest_file(folder / LABELS_FILE),
        voxels_sha256=_voxels_digest(checked.image),
        spacing_mm=checked.image.grid.spacing_mm,
        shape=checked.image.grid.shape,
        source_orientation=checked.source_orientation,
        label_voxels={NAMES[label]: count for label, count in checked.label_voxels.items()},
        border=tuple(NAMES[label] for label in checked.border),
        fragments=tuple(NAMES[label] for label in checked.fragments),
        hu_counts=_hu_counts(checked.image),
    )


def _voxels_digest(image: Volume) -> str:
    # In NIfTI's own order, in which the array mostly lies already.
    return "sha256:" + hashlib.sha256(np.asfortranarray(image.array).T.data).hexdigest()


def _hu_counts(image: Volume) -> tuple[int, ...]:
    low, high, step = HU_EDGES[0], HU_EDGES[-1], HU_EDGES[1] - HU_EDGES[0]
    # One voxel in 32 gives the shape; a report's histogram needs no more.
    sample = image.array[::4, ::4, ::2]
    bins = (np.clip(sample, low, high - 1) - low) // step
    return tuple(np.bincount(bins.ravel().astype(np.intp), minlength=len(HU_EDGES) - 1).tolist())


def _with_relative_path(found: Finding, within: Path) -> Finding:
    return found.model_copy(update={"message": _relative(found.message, within)})


def _relative(message: str, within: Path) -> str:
    """Name files relative to the raw folder: the same data give the same manifest wherever they lie."""
    return message.replace(f"{within}/", "")
