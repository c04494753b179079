"""An uploaded file into a CT volume: unpacked no further than its header promises, refused where it can't fit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from components.serve_model.errors import ServeError, TooLargeError, UnreadableScanError, UnsuitableScanError
from components.serve_model.limits import MIB
from spine.errors import NotFiniteError, UnreadableVolumeError
from spine.volume import input_limits
from spine.volume.grid import Grid
from spine.volume.input_limits import UnfitScanError, require_fitting, require_placed
from spine.volume.nifti import GZIP_MAGIC, Volume, require_finite

_GZIP_WINDOW = 31
_HEADER_BYTES = 540
"""Enough for NIfTI-2, whose header is the longer one."""
_MOST_EXTENSION_BYTES = 64 * MIB
_LEAST_VOXEL_MM3 = 1e-9
_FARTHEST_MM = 1e6


@dataclass(frozen=True)
class ScanHeader:
    """What an upload's header promises, before a voxel of it is unpacked."""

    grid: Grid
    dtype: np.dtype[Any]
    data_ends: int
    """Offset in bytes, in the unpacked file, at which the voxels end."""
    is_scaled: bool
    """Whether the file says that its numbers are to be scaled, for which they are held as float64."""

    @property
    def voxels(self) -> int:
        """Voxels of the scan."""
        return math.prod(self.grid.shape)

    @property
    def is_wide(self) -> bool:
        """Whether numbers of more than float32's range may come out."""
        return self.is_scaled or self.dtype.itemsize > 4


def read_header(upload: Path, *, max_voxels: int) -> ScanHeader:
    """Read the header of an upload, unpacking no more than that.

    Raises UnreadableScanError, UnsuitableScanError or TooLargeError, none of which names a path.
    """
    blocks = _blocks(upload, block_bytes=_HEADER_BYTES)
    head = b""
    while len(head) < _HEADER_BYTES and (block := next(blocks, None)) is not None:
        head += block
    return _promised(head, max_voxels=max_voxels)


def read_scan(upload: Path, header: ScanHeader, *, folder: Path) -> Volume:
    """Return the scan in ``upload`` as float32 HU, shape (i, j, k); ``folder`` takes the unpacked file for a while.

    Raises UnreadableScanError or UnsuitableScanError, none of which names a path.
    """
    plain = folder / "scan.nii"
    try:
        _unpack(upload, plain, data_ends=header.data_ends)
        scan = input_limits.read_scan(plain)
        if header.is_wide:
            # A number that only float64 holds is infinite by now.
            require_finite(scan.array, path=plain)
    except NotFiniteError as error:
        reason = f"has {error.count} voxels that are NaN or infinite"
        raise UnsuitableScanError(reason, expected="finite HU") from error
    except UnfitScanError as error:
        raise UnsuitableScanError(error.reason, expected=error.expected) from error
    except UnreadableVolumeError as error:
        raise UnsuitableScanError(error.reason.replace(str(plain), "the file"), expected="a 3-D CT volume") from error
    except (OSError, MemoryError, ServeError):
        raise
    except Exception as error:
        # nibabel's refusals of a header have no common root.
        raise UnreadableScanError("has a NIfTI header that makes no sense") from error
    finally:
        plain.unlink(missing_ok=True)
    return scan


def require_servable(grid: Grid, *, spacing_mm: tuple[float, float, float], max_voxels: int) -> None:
    """Refuse a grid that comes to nothing, or to too much, at the model's spacing (canonical axes, mm)."""
    try:
        require_fitting(grid, spacing_mm=spacing_mm, max_voxels=max_voxels)
    except UnfitScanError as error:
        if error.is_too_large:
            raise TooLargeError(f"the scan {error.reason}", limit=f"{max_voxels:.3g}") from error
        raise UnsuitableScanError(error.reason, expected=error.expected) from error


def _unpack(upload: Path, plain: Path, *, data_ends: int) -> None:
    written = 0
    with plain.open("wb") as sink:
        for block in _blocks(upload, block_bytes=MIB):
            # What follows the voxels is no part of the scan: a bomb ends here.
            sink.write(block[: max(data_ends - written, 0)])
            written += len(block)
            if written > data_ends + MIB:
                raise UnreadableScanError("holds more than its header says")
    if written < data_ends:
        raise UnreadableScanError("is shorter than its header says")


def _promised(head: bytes, *, max_voxels: int) -> ScanHeader:
    header = _header(head)
    try:
        shape = tuple(int(size) for size in header.get_data_shape())
        dtype = np.dtype(header.get_data_dtype())
        offset = int(header.get_data_offset())
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
        is_scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
    except Exception as error:
        # A header of random bytes fails in as many ways as it has fields.
        raise UnreadableScanError("has a NIfTI header that makes no sense") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    _require_ct(shape, dtype, affine)
    try:
        require_placed(header)
    except UnfitScanError as error:
        raise UnsuitableScanError(error.reason, expected=error.expected) from error
    if not len(head[:348]) <= offset <= _MOST_EXTENSION_BYTES:
        raise UnreadableScanError("has a NIfTI header that makes no sense")
    voxels = math.prod(shape)
    if voxels > max_voxels:
        raise TooLargeError(f"the scan has {voxels:.3g} voxels", limit=f"{max_voxels:.3g}")
    data_ends = int(offset + voxels * dtype.itemsize)
    return ScanHeader(grid=Grid.of(shape, affine), dtype=dtype, data_ends=data_ends, is_scaled=is_scaled)


def _require_ct(shape: tuple[int, ...], dtype: "np.dtype[Any]", affine: NDArray[np.float64]) -> None:
    if len(shape) != 3:
        raise UnsuitableScanError(f"has {len(shape)} dimensions {shape}", expected="3")
    if min(shape) < 1:
        raise UnsuitableScanError(f"is empty, shape {shape}", expected="at least one voxel")
    if dtype.kind not in "iuf":
        raise UnsuitableScanError(f"has voxels of type {dtype}", expected="whole or real numbers")
    with np.errstate(all="ignore"):
        maps_to_volume = np.isfinite(affine).all() and np.isfinite(affine[:3, :3] ** 2).all()
        if not maps_to_volume or not np.abs(np.linalg.det(affine[:3, :3])) >= _LEAST_VOXEL_MM3:
            raise UnsuitableScanError("has an affine that maps to no volume", expected="a finite affine")
    farthest_mm = np.abs(affine[:3, 3]).max()
    if farthest_mm > _FARTHEST_MM:
        # Beyond that the places of its voxels run together.
        raise UnsuitableScanError(
            f"has its first voxel at {farthest_mm:.3g} mm", expected=f"at most {_FARTHEST_MM:.3g} mm"
        )


def _header(head: bytes) -> Any:
    if head[344:348] == b"n+1\0":
        return nibabel.Nifti1Header(head[:348], check=False)
    if head[4:8] == b"n+2\0":
        return nibabel.Nifti2Header(head[:540], check=False)
    raise UnreadableScanError("is no NIfTI file")


def _blocks(upload: Path, *, block_bytes: int) -> Iterator[bytes]:
    """Yield the content in blocks of at most ``block_bytes``, unpacked where it is gzip."""
    with upload.open("rb") as stream:
        is_gzip = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        packed = iter(lambda: stream.read(block_bytes), b"")
        if is_gzip:
            yield from _unpacked(packed, block_bytes=block_bytes)
        else:
            yield from packed


def _unpacked(packed: Iterator[bytes], *, block_bytes: int) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(_GZIP_WINDOW)
    try:
        for block in packed:
            rest = block
            while rest:
                if member.eof:
                    # Several members in a row are one file; zeros after the last are padding.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member = isal_zlib.decompressobj(_GZIP_WINDOW)
                yield member.decompress(rest, block_bytes)
                rest = member.unused_data if member.eof else member.unconsumed_tail
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub takes the class for one of its errors
        raise UnreadableScanError("is damaged gzip") from error
    # What is left in the decompressor's window is at most one block.
    yield member.flush()
    if not member.eof:
        raise UnreadableScanError("is gzip that breaks off")
