"""A CT series in DICOM files read as one volume in HU, or refused with the check that it fails."""

import contextlib
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spine.volume.dicom_geometry import SeriesError, SeriesFault, Slice, stacked
from spine.volume.nifti import Volume

__all__ = ["DicomSeries", "SeriesError", "SeriesFault", "read_series"]

_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_PLACE: Final = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1}
_TAGS: Final = [
    *("SOPClassUID", "ImageType", "Modality", "PatientID", "FrameOfReferenceUID", "NumberOfFrames"),
    *("PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *_UIDS,
    *_PLACE,
]
_POSITIVE: Final = ("PixelSpacing", "Rows", "Columns")
_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_ENHANCED: Final = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_PREAMBLE_BYTES: Final = 128
_MAGIC: Final = b"DICM"
_FIRST_GROUPS: Final = (b"\x02\x00", b"\x08\x00")
"""How a file without preamble begins: with an element of group 0002 or 0008."""


@dataclass(frozen=True)
class DicomSeries:
    """A CT ``volume`` (i along a row, j down the rows, k along the slice normal; HU) and what its files told.

    ``patient`` is a pseudonym of the patient's id, or None where there is none; ``localizers`` counts the files left
    out as scout views, ``missing_uids`` the slices that lack a study, series or SOP instance UID.
    """

    volume: Volume
    patient: str | None
    localizers: int
    missing_uids: int
    slices: int


@dataclass(frozen=True)
class _Header:
    """The header of one DICOM file, its pixels left out."""

    path: Path
    tags: Any

    def text(self, name: str) -> str:
        """Return a value as text, empty where it is missing."""
        value = self.tags.get(name)
        return "" if value is None else str(value).strip()

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """Return ``count`` finite numbers, or None where the header does not hold them."""
        try:
            values = np.atleast_1d(np.asarray(self.tags.get(name), dtype=np.float64))
        except (ValueError, TypeError, OverflowError):
            return None
        if values.shape != (count,) or not np.isfinite(values).all():
            return None
        return tuple(float(value) for value in values)


def read_series(folder: Path) -> DicomSeries:
    """Read the one CT series below ``folder``; files are known by content, slices ordered by position.

    Voxels are int16 where all HU are whole and fit, else float32. Raises SeriesError where files are missing,
    damaged or no plain CT slices, for more than one series, and for what ``stacked`` refuses.
    """
    with _quiet():
        headers = _read_headers(folder)
        images = [header for header in headers if "LOCALIZER" not in header.text("ImageType").upper()]
        _require_plain(images)
        patient = _require_one_series(folder, images)
        ordered, grid = stacked(folder, [_slice(image) for image in images])
        voxels = _read_voxels(ordered)
    return DicomSeries(
        volume=Volume(array=voxels, grid=grid),
        patient=patient and "dicom-" + hashlib.sha256(patient.encode()).hexdigest()[:12],
        localizers=len(headers) - len(images),
        missing_uids=sum(not all(image.text(name) for name in _UIDS) for image in images),
        slices=len(images),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what pydicom and ITK think of a file off stderr: what matters is refused in words of ours."""
    import SimpleITK

    loud = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(loud)


def _read_headers(folder: Path) -> list[_Header]:
    if not folder.is_dir():
        raise SeriesError(
            folder, fault="readable", value=0, reason="no such folder", expected="a folder of DICOM files"
        )
    paths = [path for path in sorted(folder.rglob("*")) if _is_candidate(path, folder)]
    headers, damaged = [], []
    for path in paths:
        try:
            tags = _read_header(path)
        except Exception as error:  # pydicom raises whatever the damage happens to break
            damaged.append((path, f"can't be read ({type(error).__name__}: {(str(error).splitlines() or ['?'])[0]})"))
            continue
        if tags is not None:
            headers.append(_Header(path=path, tags=tags))
    _require_none(damaged, expected="a whole DICOM file")
    if not headers:
        reason = f"none of its {len(paths)} files is DICOM" if paths else "holds no file"
        raise SeriesError(
            folder, fault="readable", value=len(paths), reason=reason, expected="the DICOM files of one CT series"
        )
    return headers


def _is_candidate(path: Path, folder: Path) -> bool:
    if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.name.upper() == "DICOMDIR":
        return False
    # A dangling link stays in: it is a slice that got lost.
    return path.is_file() or (path.is_symlink() and not path.exists())


def _read_header(path: Path) -> Any:
    """Return a pydicom data set without pixels, or None for what is no DICOM image."""
    from pydicom import dcmread

    with path.open("rb") as stream:
        head = stream.read(_PREAMBLE_BYTES + len(_MAGIC))
    if len(head) < _PREAMBLE_BYTES + len(_MAGIC) and not head[:_PREAMBLE_BYTES].strip(b"\0"):
        raise EOFError(f"{len(head)} bytes and no content")
    if head[_PREAMBLE_BYTES:] != _MAGIC:
        return _read_bare_header(path) if head.startswith(_FIRST_GROUPS) else None
    tags = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    _decode_values(tags)
    return None if tags.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY else tags


def _read_bare_header(path: Path) -> Any:
    """Read a file that lacks the preamble; None where it turns out to be something else."""
    from pydicom import dcmread

    try:
        tags = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        _decode_values(tags)
    except Exception:  # as above: what is no DICOM breaks anywhere
        return None
    return tags if "Modality" in tags else None


def _decode_values(tags: Any) -> None:
    """Have pydicom decode every value now, where damage is expected, and not at first use."""
    for _ in tags:
        pass


def _require_plain(images: list[_Header]) -> None:
    """Refuse what is no single CT slice of one HU value a pixel, with all that places it."""
    wrong = [(image.path, reason) for image in images if (reason := _complaint(image))]
    _require_none(wrong, expected="a CT slice with one HU value a pixel and its place")


def _complaint(image: _Header) -> str | None:
    if image.text("Modality").upper() != "CT":
        return f"has modality {image.text('Modality')!r}"
    if image.text("SOPClassUID") in _ENHANCED or image.text("NumberOfFrames") not in ("", "0", "1"):
        return f"is a multi-frame (enhanced) file, NumberOfFrames {image.text('NumberOfFrames')!r}"
    for name, count in _PLACE.items():
        values = image.numbers(name, count)
        if values is None:
            return f"lacks a usable {name}"
        if name in _POSITIVE and min(values) <= 0:
            return f"has {name} {values}"
    # GDCM turns MONOCHROME1 inside out, takes a slope of zero for one, and passes over look-up tables.
    if image.text("PhotometricInterpretation") not in ("", "MONOCHROME2"):
        return f"has PhotometricInterpretation {image.text('PhotometricInterpretation')!r}"
    if image.text("ModalityLUTSequence"):
        return "has a ModalityLUTSequence in place of a rescale slope"
    for name in ("RescaleSlope", "RescaleIntercept"):
        if image.text(name) and not image.numbers(name, 1):
            return f"has {name} {image.text(name)!r}"
    return "has RescaleSlope 0" if image.numbers("RescaleSlope", 1) == (0.0,) else None


def _require_none(wrong: list[tuple[Path, str]], *, expected: str) -> None:
    if not wrong:
        return
    path, reason = wrong[0]
    more = f" (and {len(wrong) - 1} more such files)" if len(wrong) > 1 else ""
    raise SeriesError(path, fault="readable", value=len(wrong), reason=reason + more, expected=expected)


def _require_one_series(folder: Path, images: list[_Header]) -> str | None:
    """Return the one patient's id, or None where no slice has one."""
    # Slices without a series UID are a series of their own; frames and patients only count where they are named.
    series = Counter(image.text("SeriesInstanceUID") for image in images)
    frames = Counter(image.text("FrameOfReferenceUID") for image in images)
    patients = Counter(image.text("PatientID") for image in images)
    del frames[""], patients[""]
    for what, found in (("series", series), ("frames of reference", frames), ("patients", patients)):
        if len(found) > 1:
            counts = " and ".join(str(count) for _, count in found.most_common())
            raise SeriesError(
                folder,
                fault="one-series",
                value=len(found),
                reason=f"holds {len(found)} {what} ({counts} slices)",
                expected="one series, one frame of reference and one patient",
            )
    return next(iter(patients), None)


def _slice(image: _Header) -> Slice:
    place = {name: image.numbers(name, count) or () for name, count in _PLACE.items()}
    return Slice(
        path=image.path,
        rows=int(place["Rows"][0]),
        columns=int(place["Columns"][0]),
        spacing_mm=place["PixelSpacing"],
        directions=place["ImageOrientationPatient"],
        position_mm=place["ImagePositionPatient"],
    )


def _read_voxels(ordered: list[Slice]) -> NDArray[Any]:
    """Return HU of shape (columns, rows, slices), int16 until a slice needs float32."""
    voxels: NDArray[Any] = np.empty((len(ordered), ordered[0].rows, ordered[0].columns), dtype=np.int16)
    for place, image in enumerate(ordered):
        plane = _read_plane(image)
        voxels = voxels.astype(np.promote_types(voxels.dtype, plane.dtype), copy=False)
        voxels[place] = plane
    return voxels.transpose(2, 1, 0)


def _read_plane(image: Slice) -> NDArray[Any]:
    """Return one slice's HU (rows, columns); GDCM decodes, and applies this slice's own slope and intercept."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(image.path))
    try:
        _require_whole(image)
        values: NDArray[Any] = SimpleITK.GetArrayFromImage(reader.Execute()).reshape(image.rows, image.columns)
    except Exception as error:  # ITK raises RuntimeError, pydicom whatever the damage breaks, numpy ValueError
        reason = "its pixel data are truncated or can't be decoded"
        raise SeriesError(
            image.path, fault="readable", value=1, reason=reason, expected="pixel data that decode to the whole slice"
        ) from error
    is_whole = values.dtype.kind in "iu" or bool((values == np.rint(values)).all())
    limits = np.iinfo(np.int16)
    fits = is_whole and limits.min <= values.min() and values.max() <= limits.max
    return values.astype(np.int16 if fits else np.float32)


def _require_whole(image: Slice) -> None:
    """Refuse plain pixel data that are too short: GDCM fills up the rest with whatever lies in memory."""
    from pydicom import dcmread

    tags = dcmread(image.path, force=True, specific_tags=["PixelData", "BitsAllocated"])
    syntax = tags.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_encapsulated:
        return
    promised, found = image.rows * image.columns * int(tags.BitsAllocated) // 8, len(tags.PixelData)
    if found < promised:
        raise EOFError(f"{found} of {promised} bytes")
