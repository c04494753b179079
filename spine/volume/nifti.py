"""NIfTI in and out: strict reading, canonical orientation, and atomic, reproducible gzip writing."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from spine.errors import GridMismatchError, LabelValueError, MissingPathError, UnreadableVolumeError
from spine.labels import MAX_LABEL
from spine.storage import atomic_file
from spine.volume.grid import Grid

GZIP_MAGIC = b"\x1f\x8b"
SUFFIXES = (".nii.gz", ".nii")
_CANONICAL = "RAS"
_BLOCK_BYTES = 1 << 20
_MOST_DEFLATED = 1032
"""Deflate's largest ratio: a header that promises more voxels than this lies."""
_DAMAGE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, zlib.error)
"""What nibabel raises for a file that is no whole volume; they have no common root."""


@dataclass(frozen=True)
class Volume:
    """An array of shape (i, j, k) on its grid: HU as float32 for images, uint8 ids for label maps."""

    array: NDArray[Any]
    grid: Grid


def read_image(path: Path) -> Volume:
    """Read a CT volume as float32 HU; refuse what is damaged, not 3-D or not finite."""
    volume = _read(path)
    array = np.asarray(volume.array, dtype=np.float32)
    if not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise UnreadableVolumeError(path, reason=f"{count} voxels are NaN or infinite", expected="finite voxels")
    return Volume(array=array, grid=volume.grid)


def read_labels(path: Path) -> Volume:
    """Read a label map as uint8; refuse fractions and ids outside 0-25."""
    volume = _read(path)
    array = volume.array
    is_whole = np.issubdtype(array.dtype, np.integer) or bool((np.isfinite(array) & (array == np.round(array))).all())
    if not is_whole:
        raise LabelValueError(path, reason="label values are not whole numbers")
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    if low < 0 or high > MAX_LABEL:
        raise LabelValueError(path, reason=f"label {low if low < 0 else high} found")
    return Volume(array=array.astype(np.uint8), grid=volume.grid)


def write_volume(path: Path, volume: Volume) -> None:
    """Write ``volume`` atomically as NIfTI-1; the same volume gives the same bytes on every run."""
    image = nibabel.Nifti1Image(volume.array, volume.grid.matrix)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=4, mtime=0)
    with atomic_file(path) as partial:
        partial.write_bytes(content)


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
    array = np.ascontiguousarray(apply_orientation(volume.array, transform))
    return Volume(array=array, grid=Grid.of(array.shape, affine @ inv_ornt_aff(transform, volume.array.shape)))


def _read(path: Path) -> Volume:
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
    if array.ndim != 3:
        raise UnreadableVolumeError(path, reason=f"has {array.ndim} dimensions {array.shape}")
    if 0 in array.shape:
        raise UnreadableVolumeError(path, reason=f"is empty, shape {array.shape}")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        raise UnreadableVolumeError(path, reason="has an affine that maps to no volume", expected="a finite affine")
    return Volume(array=array, grid=Grid.of(array.shape, image.affine))


def _unpacked(path: Path, image: Any) -> NDArray[Any]:
    """Read a compressed volume to the end of its stream: nibabel stops at the last voxel, before the checksum."""
    promised = math.prod(image.shape) * image.get_data_dtype().itemsize
    if promised > _MOST_DEFLATED * path.stat().st_size:
        raise ValueError(f"its header promises {promised} bytes of voxels, more than the file can hold")
    with gzip.open(path) as stream:
        array: NDArray[Any] = np.asanyarray(type(image).from_stream(stream).dataobj)
        while stream.read(_BLOCK_BYTES):
            pass
    return array


def _require_honest_suffix(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(2)
    if not head:
        raise UnreadableVolumeError(path, reason="has zero bytes")
    is_gzip = head == GZIP_MAGIC
    if path.name.endswith(".gz") and not is_gzip:
        raise UnreadableVolumeError(path, reason="is named .nii.gz but is not gzip", expected="gzip content")
    if path.name.endswith(".nii") and is_gzip:
        raise UnreadableVolumeError(path, reason="is named .nii but is gzip", expected="an uncompressed .nii")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
