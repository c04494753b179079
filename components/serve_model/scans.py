"""An uploaded file into a CT volume: unpacked no further than its header promises, and refused where it can't fit."""

import math
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from components.serve_model.errors import TooLargeError, UnreadableScanError, UnsuitableScanError
from components.serve_model.limits import MIB
from spine.errors import UnreadableVolumeError
from spine.volume.fitting import UnfitScanError, require_fitting
from spine.volume.grid import Grid
from spine.volume.nifti import GZIP_MAGIC, Volume, read_image

_GZIP_WINDOW = 31
_HEADER_BYTES = 540
"""Enough for NIfTI-2, whose header is the longer one."""
_MOST_EXTENSION_BYTES = 64 * MIB


def read_scan(upload: Path, *, folder: Path, max_voxels: int) -> Volume:
    """Return the scan in ``upload`` as float32 HU, shape (i, j, k); ``folder`` takes the unpacked file.

    Raises UnreadableScanError, UnsuitableScanError or TooLargeError, none of which names a path.
    """
    plain = folder / "scan.nii"
    _unpack(upload, plain, max_voxels=max_voxels)
    try:
        return read_image(plain)
    except UnreadableVolumeError as error:
        raise UnsuitableScanError(error.reason.replace(str(plain), "the file"), expected="a 3-D CT volume") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # nibabel's refusals of a header have no common root.
        raise UnreadableScanError("has a NIfTI header that makes no sense") from error


def require_servable(grid: Grid, *, spacing_mm: tuple[float, float, float], max_voxels: int) -> None:
    """Refuse a grid that comes to nothing, or to too much, at the model's spacing (canonical axes, mm)."""
    try:
        require_fitting(grid, spacing_mm=spacing_mm, max_voxels=max_voxels)
    except UnfitScanError as error:
        if error.is_too_large:
            raise TooLargeError(f"the scan {error.reason}", limit=f"{max_voxels:.3g}") from error
        raise UnsuitableScanError(error.reason, expected=error.expected) from error


def _unpack(upload: Path, plain: Path, *, max_voxels: int) -> None:
    blocks = _blocks(upload)
    head = b""
    while len(head) < _HEADER_BYTES and (block := next(blocks, None)) is not None:
        head += block
    data_ends = _promised_end(head, max_voxels=max_voxels)
    written = 0
    with plain.open("wb") as sink:
        for block in chain([head], blocks):
            # What follows the voxels is no part of the scan: a bomb ends here.
            sink.write(block[: max(data_ends - written, 0)])
            written += len(block)
            if written > data_ends + MIB:
                raise UnreadableScanError("holds more than its header says")
    if written < data_ends:
        raise UnreadableScanError("is shorter than its header says")


def _promised_end(head: bytes, *, max_voxels: int) -> int:
    """Return the offset at which the voxels end, as the header says."""
    header = _header(head)
    try:
        shape = tuple(int(size) for size in header.get_data_shape())
        dtype = np.dtype(header.get_data_dtype())
        offset = int(header.get_data_offset())
    except Exception as error:
        # A header of random bytes fails in as many ways as it has fields.
        raise UnreadableScanError("has a NIfTI header that makes no sense") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UnsuitableScanError(f"has {len(shape)} dimensions {shape}", expected="3")
    if min(shape) < 1:
        raise UnsuitableScanError(f"is empty, shape {shape}", expected="at least one voxel")
    if dtype.kind not in "iuf":
        raise UnsuitableScanError(f"has voxels of type {dtype}", expected="whole or real numbers")
    if not len(head[:348]) <= offset <= _MOST_EXTENSION_BYTES:
        raise UnreadableScanError("has a NIfTI header that makes no sense")
    voxels = math.prod(shape)
    if voxels > max_voxels:
        raise TooLargeError(f"the scan has {voxels:.3g} voxels", limit=f"{max_voxels:.3g}")
    return int(offset + voxels * dtype.itemsize)


def _header(head: bytes) -> Any:
    if head[344:348] == b"n+1\0":
        return nibabel.Nifti1Header(head[:348], check=False)
    if head[4:8] == b"n+2\0":
        return nibabel.Nifti2Header(head[:540], check=False)
    raise UnreadableScanError("is no NIfTI file")


def _blocks(upload: Path) -> Iterator[bytes]:
    """Yield the content in blocks of at most 1 MiB, unpacked where it is gzip."""
    with upload.open("rb") as stream:
        is_gzip = stream.read(2) == GZIP_MAGIC
        stream.seek(0)
        packed = iter(lambda: stream.read(MIB), b"")
        if is_gzip:
            yield from _unpacked(packed)
        else:
            yield from packed


def _unpacked(packed: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_WINDOW)
    try:
        for block in packed:
            rest = block
            while rest:
                if member.eof:
                    # Several members in a row are one file; zeros after the last are padding.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member = zlib.decompressobj(_GZIP_WINDOW)
                yield member.decompress(rest, MIB)
                rest = member.unused_data if member.eof else member.unconsumed_tail
    except zlib.error as error:
        raise UnreadableScanError("is damaged gzip") from error
    # What is left in the decompressor's window is at most one block.
    yield member.flush()
    if not member.eof:
        raise UnreadableScanError("is gzip that breaks off")
