"""One case through all checks: read, refused or brought to canonical order, and measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from components.prepare_dataset.checks import levels
from components.prepare_dataset.checks.anatomy import Anatomy, measure
from components.prepare_dataset.checks.catalogue import finding
from components.prepare_dataset.checks.centroids import centroids_agree
from components.prepare_dataset.checks.image import mask_on_bone, require_usable
from components.prepare_dataset.raw_case import RawCase
from components.prepare_dataset.reading import Remark, read_case
from components.prepare_dataset.rejection import RejectedCaseError
from spine.dataset import Finding
from spine.errors import (
    DimensionError,
    GridMismatchError,
    LabelValueError,
    MalformedFileError,
    MissingPathError,
    NotFiniteError,
    SpinelineError,
    UnreadableVolumeError,
    WrongSuffixError,
)
from spine.volume.dicom import SeriesError
from spine.volume.nifti import Volume, to_canonical

_REFUSALS: Final[tuple[tuple[type[SpinelineError], str, Callable[[Any], float]], ...]] = (
    (NotFiniteError, "finite-voxels", lambda error: error.count),
    (DimensionError, "three-dimensions", lambda error: len(error.shape)),
    (WrongSuffixError, "honest-suffix", lambda error: error.size),
    (UnreadableVolumeError, "readable", lambda error: error.size),
    (LabelValueError, "label-ids", lambda error: error.value),
    (GridMismatchError, "one-grid", lambda _: 1),
    (MissingPathError, "readable", lambda _: 0),
    (MalformedFileError, "readable", lambda _: 0),
)
"""The check that an error of ``spine`` fails, and its number; the first matching class counts."""


@dataclass(frozen=True, eq=False)
class CheckedCase:
    """A case that passed every rejecting check, in canonical orientation: int16 HU and uint8 labels."""

    raw: RawCase
    image: Volume
    labels: Volume
    anatomy: Anatomy
    source_orientation: str
    patient: str | None
    """A pseudonym of the DICOM patient."""

    @property
    def label_voxels(self) -> dict[int, int]:
        """Voxels by label id."""
        return {label: level.voxels for label, level in self.anatomy.levels.items()}

    @property
    def border(self) -> tuple[int, ...]:
        """Labels that the border of the field of view cuts."""
        return tuple(label for label, level in self.anatomy.levels.items() if level.at_border)

    @property
    def fragments(self) -> tuple[int, ...]:
        """Labels of which the border leaves a sliver."""
        return tuple(levels.fragments(self.anatomy))


def check_case(raw: RawCase) -> tuple[CheckedCase | None, list[Finding]]:
    """Read one raw case and run every check; a rejected case comes back as None with its reason."""
    try:
        checked, remarks = _checked(raw)
    except (SpinelineError, PermissionError) as error:
        refusal = _refusal(raw, error)
        if refusal is None:
            raise
        return None, [refusal]
    return checked, [
        finding(remark.check, case=raw.case, value=remark.value, message=remark.message) for remark in remarks
    ]


def _checked(raw: RawCase) -> tuple[CheckedCase, list[Remark]]:
    read = read_case(raw)
    remarks = list(read.remarks)
    orientation = read.image.grid.orientation
    is_series = raw.image is not None and raw.image.is_dir()
    if is_series:
        # A series has no order of axes that a mask could share: the two are held together in ours.
        read = replace(read, image=to_canonical(read.image), labels=to_canonical(read.labels))
    require_usable(read.image, read.labels)
    if not read.labels.array.any():
        raise RejectedCaseError("mask-not-empty", value=0, message="mask holds no vertebra")
    if orientation != "RAS" and not is_series:
        moved = sum(found != wanted for found, wanted in zip(orientation, "RAS", strict=True))
        remarks.append(Remark("orientation", moved, f"{orientation} brought to RAS"))
    image, labels = to_canonical(_hounsfield(read.image)), to_canonical(read.labels)
    anatomy = measure(labels)
    remarks += levels.remarks(anatomy)
    remarks += mask_on_bone(image, anatomy)
    if raw.centroids:
        remarks += centroids_agree(raw.centroids, labels=read.labels, label_map=raw.label_map)
    return CheckedCase(raw, image, labels, anatomy, orientation, read.patient), remarks


def _hounsfield(image: Volume) -> Volume:
    """Return the image in whole HU; the range was checked before."""
    array = image.array
    if array.dtype != np.int16:
        array = (array if array.dtype.kind in "iu" else np.round(array)).astype(np.int16)
    return Volume(array=array, grid=image.grid)


def _refusal(raw: RawCase, error: Exception) -> Finding | None:
    """Return the finding that an error about the case's own files means; None where it is about something else."""
    if isinstance(error, RejectedCaseError):
        return finding(error.check, case=raw.case, value=error.value, message=str(error))
    if isinstance(error, SeriesError):
        return finding(error.fault, case=raw.case, value=error.value, message=str(error))
    if isinstance(error, PermissionError):
        message = f"{error.filename}: {(error.strerror or 'refused').lower()}; expected a file that may be read"
        return finding("readable", case=raw.case, value=0, message=message)
    for cls, check, number in _REFUSALS:
        if isinstance(error, cls):
            return finding(check, case=raw.case, value=float(number(error)), message=str(error))
    return None
