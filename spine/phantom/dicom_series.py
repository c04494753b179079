"""A CT volume written as a DICOM series, one file a slice, in the shapes that scanners and archives leave behind."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

Compression = Literal["none", "jpeg2000", "jpeg-lossless"]

_INTERCEPT: Final = -1024
_LPS_OF_RAS: Final = np.diag([-1.0, -1.0, 1.0])
_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
_SYNTAXES: Final = {
    "none": "1.2.840.10008.1.2.1",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "jpeg-lossless": "1.2.840.10008.1.2.4.70",
}


@dataclass(frozen=True)
class _Plane:
    """One image: ``pixels`` (rows, columns) uint16, unit directions and position in LPS mm, spacing row then column."""

    name: str
    number: int
    kind: str
    pixels: NDArray[np.uint16]
    directions: tuple[NDArray[np.float64], NDArray[np.float64]]
    position_mm: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    thickness_mm: float


def write_series(
    folder: Path,
    volume: Volume,
    *,
    patient: str,
    series: int = 1,
    localizer: bool = False,
    uids: bool = True,
    compression: Compression = "none",
) -> list[Path]:
    """Write ``volume`` (whole HU of -1024 or more) slice by slice along k and return the files in the order of k.

    The same arguments give the same bytes. File names, instance numbers and slice thickness say nothing about the
    order, as in the worst of archives. ``localizer`` adds one scout view as the last file, ``uids=False`` leaves out
    study, series and SOP instance UIDs. Raises InvalidValueError for axes that are not perpendicular, or for
    values that 16 bits can't hold.
    """
    if not volume.grid.is_orthonormal:
        raise InvalidValueError("direction", volume.grid.orientation, expected="three perpendicular axes")
    stored = _stored(volume.array)
    names = [_digest(patient, series, number) for number in range(stored.shape[2])]
    planes = [*_slices(stored, volume.grid, names=names)]
    if localizer:
        planes.append(_scout(stored, volume.grid, name=_digest(patient, series, "localizer"), number=len(planes) + 1))
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{plane.name[:16]}.dcm" for plane in planes]
    for path, plane in zip(paths, planes, strict=True):
        dataset = _dataset(plane, patient=patient, series=series, uids=uids)
        _save(path, dataset, pixels=plane.pixels, compression=compression)
    return paths


def _stored(array: NDArray[Any]) -> NDArray[np.uint16]:
    shifted = np.asarray(array, dtype=np.float64) - _INTERCEPT
    low, high = float(shifted.min()), float(shifted.max())
    if low < 0 or high > np.iinfo(np.uint16).max or bool((shifted != np.round(shifted)).any()):
        raise InvalidValueError("HU", (low + _INTERCEPT, high + _INTERCEPT), expected="whole numbers of -1024 to 64511")
    return shifted.astype(np.uint16)


def _slices(stored: NDArray[np.uint16], grid: Grid, *, names: list[str]) -> Iterator[_Plane]:
    axes, origin = _LPS_OF_RAS @ grid.matrix[:3, :3], _LPS_OF_RAS @ grid.matrix[:3, 3]
    edges = grid.spacing_mm
    # Odd slices are numbered first: neither this order nor its reverse is the order of positions.
    numbers = np.argsort([*range(1, len(names), 2), *range(0, len(names), 2)]) + 1
    for k, name in enumerate(names):
        yield _Plane(
            name=name,
            number=int(numbers[k]),
            kind="AXIAL",
            pixels=stored[:, :, k].T,
            directions=(axes[:, 0] / edges[0], axes[:, 1] / edges[1]),
            position_mm=origin + k * axes[:, 2],
            spacing_mm=(edges[1], edges[0]),
            thickness_mm=edges[2] * 1.25,
        )


def _scout(stored: NDArray[np.uint16], grid: Grid, *, name: str, number: int) -> _Plane:
    axes, edges = _LPS_OF_RAS @ grid.matrix[:3, :3], grid.spacing_mm
    return _Plane(
        name=name,
        number=number,
        kind="LOCALIZER",
        pixels=stored.max(axis=1)[::2].T,
        directions=(axes[:, 0] / edges[0], axes[:, 2] / edges[2]),
        position_mm=_LPS_OF_RAS @ grid.matrix[:3, 3],
        spacing_mm=(edges[2], 2 * edges[0]),
        thickness_mm=edges[1] * stored.shape[1],
    )


def _dataset(plane: _Plane, *, patient: str, series: int, uids: bool) -> Any:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.SOPClassUID = _CT_IMAGE
    if uids:
        dataset.SOPInstanceUID = _uid(plane.name)
        dataset.StudyInstanceUID = _uid(_digest(patient, "study"))
        dataset.SeriesInstanceUID = _uid(_digest(patient, series, "series"))
    dataset.FrameOfReferenceUID = _uid(_digest(patient, series, "frame of reference"))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", plane.kind]
    dataset.Modality = "CT"
    dataset.Manufacturer = "Spineline phantom"
    dataset.PatientID = patient
    dataset.PatientName = ""
    dataset.SeriesNumber = series
    dataset.InstanceNumber = plane.number
    dataset.ImagePositionPatient = _decimals(plane.position_mm)
    dataset.ImageOrientationPatient = _decimals(np.concatenate(plane.directions))
    dataset.PixelSpacing = _decimals(plane.spacing_mm)
    dataset.SliceThickness = _decimals([plane.thickness_mm])
    dataset.Rows, dataset.Columns = plane.pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _INTERCEPT, 1, "HU"
    return dataset


def _save(path: Path, dataset: Any, *, pixels: NDArray[np.uint16], compression: Compression) -> None:
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.FileMetaInformationVersion = b"\x00\x01"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    if "SOPInstanceUID" in dataset:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = _SYNTAXES[compression]
    dataset.file_meta.ImplementationClassUID = _uid(_digest("implementation"))
    dataset.preamble = bytes(128)
    content = _encoded(np.ascontiguousarray(pixels), compression=compression)
    dataset.PixelData = content if compression == "none" else encapsulate([content])
    dataset["PixelData"].VR = "OW" if compression == "none" else "OB"
    # The strict mode would invent the SOP instance UID that some series are to lack.
    dcmwrite(path, dataset, enforce_file_format=False)


def _encoded(pixels: NDArray[np.uint16], *, compression: Compression) -> bytes:
    if compression == "none":
        return pixels.astype("<u2").tobytes()
    import imagecodecs

    if compression == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True))
    # The transfer syntax demands first-order prediction; imagecodecs' own ljpeg_encode predicts with order 6.
    return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16))


def _decimals(values: Any) -> list[str]:
    """Write numbers as DICOM decimal strings: 16 characters at most."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]


def _digest(*parts: object) -> str:
    return hashlib.sha256("/".join(str(part) for part in parts).encode()).hexdigest()


def _uid(digest: str) -> str:
    """Return a UID under the root 2.25, which holds any 128-bit number."""
    return f"2.25.{int(digest[:32], 16)}"
