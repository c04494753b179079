"""NIfTI in and out: strict reading, canonical orientation, and atomic, reproducible gzip writing."""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deflate
import nibabel
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from spine.errors import (
    DimensionError,
    GridMismatchError,
    LabelValueError,
    MissingPathError,
    NotFiniteError,
    UnreadableVolumeError,
    WrongSuffixError,
)
from spine.labels import MAX_LABEL
from spine.storage import atomic_file
from spine.volume.grid import Grid

GZIP_MAGIC = b"\x1f\x8b"
SUFFIXES = (".nii.gz", ".nii")
_CANONICAL = "RAS"
_BLOCK_BYTES = 1 << 20
_LEVEL = 1
"""Of libdeflate: twice as fast as zlib, and its bytes don't depend on the processor, as those of ISA-L do."""
_MOST_DEFLATED = 1032
"""Deflate's largest ratio: a header that promises more voxels than this lies."""
_LENGTHS = 1 << 32
"""Gzip tells the length of what it holds modulo this."""
_DAMAGE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, zlib.error)
"""What nibabel raises for a file that is no whole volume; they have no common root."""


@dataclass(frozen=True)
class Volume:
    """An array of shape (i, j, k) on its grid: HU as float32 for images, uint8 ids for label maps."""

    array: NDArray[Any]
    grid: Grid


def read_image(path: Path) -> Volume:
    """Read a CT volume as float32 HU; refuse what is damaged, not 3-D or not finite."""
    volume = read_volume(path)
    require_finite(volume.array, path=path)
    return Volume(array=np.asarray(volume.array, dtype=np.float32), grid=volume.grid)


def read_labels(path: Path) -> Volume:
    """Read a label map as uint8; refuse fractions and ids outside 0-25."""
    volume = read_volume(path)
    require_whole(volume.array, path=path)
    low, high = int(volume.array.min(initial=0)), int(volume.array.max(initial=0))
    if low < 0 or high > MAX_LABEL:
        found = low if low < 0 else high
        raise LabelValueError(path, reason=f"label {found} found", value=found)
    return Volume(array=volume.array.astype(np.uint8, copy=False), grid=volume.grid)


def read_volume(path: Path) -> Volume:
    """Read a volume in the file's own number type, scaled where the file says so; refuse what is no whole 3-D file."""
    if not path.is_file():
        raise MissingPathError(path, expected="a .nii or .nii.gz volume")
    if not path.name.endswith(SUFFIXES):
        raise UnreadableVolumeError(path, reason=f"'{path.suffix}' is no NIfTI suffix", expected=".nii or .nii.gz")
    _require_honest_suffix(path)
    try:
        image = nibabel.load(path)
        array = _unpacked(path, image) if path.name.endswith(".gz") else np.asanyarray(image.dataobj)
    except _DAMAGE as error:
        raise UnreadableVolumeError(path, reason=f"can't be read ({_first_line(error)})") from error
    if array.dtype.kind not in "iuf":
        raise UnreadableVolumeError(path, reason=f"holds {array.dtype} voxels", expected="one real number a voxel")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        raise DimensionError(path, shape=tuple(array.shape))
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise UnreadableVolumeError(path, reason="has an affine that maps to no volume", expected="a finite affine")
    return Volume(array=array, grid=Grid.of(array.shape, image.affine))


def has_known_axes(path: Path) -> bool:
    """Whether a NIfTI header says which way its axes point; without a code for it, an affine is a mere default."""
    return is_placed(nibabel.load(path).header)


def is_placed(header: Any) -> bool:
    """Whether a NIfTI header says where its voxels lie, by its sform or its qform."""
    return any(int(header.get(code, 0)) > 0 for code in ("sform_code", "qform_code"))


def require_finite(array: NDArray[Any], *, path: Path) -> None:
    """Raise NotFiniteError for NaN and infinite voxels."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise NotFiniteError(path, count=int(np.count_nonzero(~np.isfinite(array))))


def require_whole(array: NDArray[Any], *, path: Path) -> None:
    """Raise LabelValueError for label values that are no whole numbers."""
    if array.dtype.kind != "f":
        return
    odd = ~(np.isfinite(array) & (array == np.round(array)))
    if odd.any():
        count = int(np.count_nonzero(odd))
        raise LabelValueError(path, reason=f"{count} label values are not whole numbers", value=count)


def write_volume(path: Path, volume: Volume) -> None:
    """Write ``volume`` atomically as NIfTI-1; the same volume gives the same bytes on every run."""
    content = nifti_bytes(volume, is_packed=path.name.endswith(".gz"))
    with atomic_file(path) as partial:
        partial.write_bytes(content)


def nifti_bytes(volume: Volume, *, is_packed: bool) -> bytes:
    """Return ``volume`` as a NIfTI-1 file, as gzip where it ``is_packed``."""
    image = nibabel.Nifti1Image(volume.array, volume.grid.matrix)
    image.header.set_xyzt_units("mm")
    content: bytes = image.to_bytes()
    return bytes(deflate.gzip_compress(content, _LEVEL)) if is_packed else content


def to_canonical(volume: Volume) -> Volume:
    """Flip and permute axes to RAS order: +i right, +j anterior, +k superior; no resampling."""
    return _reoriented(volume, _CANONICAL)


def to_grid_of(volume: Volume, grid: Grid, *, name: Path | str = "prediction") -> Volume:
    """Flip and permute a canonical volume back to the axis order of the grid that it came from."""
    back = _reoriented(volume, grid.orientation)
    difference = back.grid.difference(grid)
    if difference:
        raise GridMismatchError(name, "its input", difference=difference)
    return Volume(array=back.array, grid=grid)


def require_one_grid(first: Volume, second: Volume, *, names: tuple[Path | str, Path | str]) -> None:
    """Refuse two volumes whose grids differ by more than 1e-4 in size, spacing, origin or direction."""
    difference = first.grid.difference(second.grid)
    if difference:
        raise GridMismatchError(*names, difference=difference)


def case_name(path: Path) -> str:
    """Return a file's name without ``.nii`` or ``.nii.gz``."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.stem


def _reoriented(volume: Volume, codes: str) -> Volume:
    affine = volume.grid.matrix
    transform = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
    array = apply_orientation(volume.array, transform)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        # NIfTI's own order: what is read is rarely copied, and what is written never.
        array = np.asfortranarray(array)
    return Volume(array=array, grid=Grid.of(array.shape, affine @ inv_ornt_aff(transform, volume.array.shape)))


def _unpacked(path: Path, image: Any) -> NDArray[Any]:
    """Read a compressed volume to the end of its stream: nibabel stops at the last voxel, before the checksum."""
    promised = math.prod(image.shape) * image.get_data_dtype().itemsize
    if promised > _MOST_DEFLATED * path.stat().st_size:
        raise ValueError(f"its header promises {promised} bytes of voxels, more than the file can hold")
    at_once = _unpacked_at_once(path, image.dataobj, promised=promised)
    if at_once is not None:
        return at_once
    with igzip.open(path) as stream:
        array: NDArray[Any] = np.asanyarray(type(image).from_stream(stream).dataobj)
        while stream.read(_BLOCK_BYTES):
            pass
    return array


def _unpacked_at_once(path: Path, stored: Any, *, promised: int) -> NDArray[Any] | None:
    """Unpack a file of one gzip member, as nearly all are, in a third of the time; None where it is no such file.

    Its last four bytes then are the length that the header promises. Whatever is odd is left to the stream, which
    says what is wrong with it.
    """
    length = int(stored.offset) + promised
    content = path.read_bytes()
    if length >= _LENGTHS or int.from_bytes(content[-4:], "little") != length:
        return None
    try:
        unpacked = deflate.gzip_decompress(content, length)
    except deflate.DeflateError:
        return None
    if len(unpacked) != length:
        return None
    array = np.frombuffer(unpacked, dtype=stored.dtype, offset=int(stored.offset)).reshape(stored.shape, order="F")
    scaled: NDArray[Any] = apply_read_scaling(array, stored.slope, stored.inter)
    return scaled


def _require_honest_suffix(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(2)
    if not head:
        raise UnreadableVolumeError(path, reason="has zero bytes")
    is_gzip = head == GZIP_MAGIC
    if path.name.endswith(".gz") and not is_gzip:
        raise WrongSuffixError(path, reason="is named .nii.gz but is not gzip", expected="gzip content")
    if path.name.endswith(".nii") and is_gzip:
        raise WrongSuffixError(path, reason="is named .nii but is gzip", expected="an uncompressed .nii")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
