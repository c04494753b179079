"""A raw case read: image and mask as volumes on one grid, in our label ids, with what was noted on the way."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.prepare_dataset.label_maps import LabelMap
from components.prepare_dataset.layouts.totalsegmentator import MASK_PREFIX
from components.prepare_dataset.raw_case import RawCase
from components.prepare_dataset.rejection import RejectedCaseError
from spine.errors import LabelValueError
from spine.labels import IDS, NAMES
from spine.volume.dicom import read_series
from spine.volume.nifti import (
    Volume,
    case_name,
    has_known_axes,
    read_volume,
    require_finite,
    require_one_grid,
    require_whole,
)

_WIDEST_BITS = 32


@dataclass(frozen=True)
class Remark:
    """What was noticed while reading: the name of a check, its number, and the words."""

    check: str
    value: float
    message: str


@dataclass(frozen=True)
class ReadCase:
    """Image in the file's own number type, mask as uint8 in our ids; grids as stored, not yet compared."""

    image: Volume
    labels: Volume
    remarks: tuple[Remark, ...]
    patient: str | None
    """A pseudonym of the DICOM patient."""


def read_case(raw: RawCase) -> ReadCase:
    """Read a case; raises RejectedCaseError or the error of the file that can't be used."""
    if raw.duplicates:
        files = [place for place in (raw.image, raw.labels, *raw.duplicates) if place]
        message = f"more than one file for this case: {', '.join(str(path) for path in sorted(files))}"
        raise RejectedCaseError("unique-files", value=1 + len(raw.duplicates), message=message)
    if raw.image is None or raw.labels is None:
        missing = "volume" if raw.image is None else "mask"
        raise RejectedCaseError("one-mask-a-volume", value=1, message=f"has no {missing}")
    image, image_remarks, patient = _read_image(raw.image)
    read = _read_masks if raw.labels.is_dir() else _read_labels
    labels, label_remarks = read(raw.labels, raw.label_map)
    return ReadCase(image=image, labels=labels, remarks=(*image_remarks, *label_remarks), patient=patient)


def _read_image(path: Path) -> tuple[Volume, list[Remark], str | None]:
    if not path.is_dir():
        volume = read_volume(path)
        require_finite(volume.array, path=path)
        lost = Remark("known-axes", 0, "the header does not say which way its axes point; taken as they lie")
        return volume, [] if has_known_axes(path) else [lost], None
    series = read_series(path)
    remarks = []
    if series.localizers:
        remarks.append(Remark("localizer", series.localizers, f"{series.localizers} localizer(s) left out"))
    if series.missing_uids:
        message = f"{series.missing_uids} of {series.slices} files lack a study, series or SOP instance UID"
        remarks.append(Remark("missing-uids", series.missing_uids, message))
    return series.volume, remarks, series.patient


def _read_labels(path: Path, label_map: LabelMap) -> tuple[Volume, list[Remark]]:
    volume = read_volume(path)
    array, left_out = label_map.apply(volume.array, path=path)
    remarks = [
        Remark("unnamed-anatomy", voxels, f"{name} ({voxels} voxels) has no label here and became background")
        for name, voxels in left_out.items()
    ]
    kind = volume.array.dtype
    if kind.kind == "f" or kind.itemsize * 8 > _WIDEST_BITS:
        remarks.append(Remark("label-type", kind.itemsize * 8, f"stored as {kind.name}; written as uint8"))
    return Volume(array=array, grid=volume.grid), remarks


def _read_masks(folder: Path, _: LabelMap) -> tuple[Volume, list[Remark]]:
    """Merge one mask a vertebra; its file's name says which."""
    merged: Volume | None = None
    for path in sorted(folder.glob(f"{MASK_PREFIX}*.nii*")):
        name = case_name(path).removeprefix(MASK_PREFIX)
        if name not in IDS:
            raise LabelValueError(path, reason=f"'{name}' is no vertebra of ours", value=1, expected="C1 … S1")
        mask = _read_mask(path)
        if merged is None:
            merged = Volume(array=np.zeros_like(mask.array, dtype=np.uint8), grid=mask.grid)
        require_one_grid(merged, mask, names=(folder, path))
        inside = mask.array != 0
        taken = merged.array[inside]
        if taken.any():
            other = NAMES[int(taken.max())]
            message = f"{path}: {name} and {other} share {np.count_nonzero(taken)} voxels; expected none"
            raise RejectedCaseError("overlapping-masks", value=float(np.count_nonzero(taken)), message=message)
        merged.array[inside] = IDS[name]
    if merged is None:
        raise RejectedCaseError("one-mask-a-volume", value=0, message=f"{folder}: holds no mask of a vertebra")
    return merged, []


def _read_mask(path: Path) -> Volume:
    volume = read_volume(path)
    require_whole(volume.array, path=path)
    low, high = volume.array.min(initial=0), volume.array.max(initial=0)
    if low < 0 or high > 1:
        found = int(low if low < 0 else high)
        raise LabelValueError(path, reason=f"value {found} found", value=found, expected="0 and 1 in a mask a vertebra")
    return volume
