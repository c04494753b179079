"""The training cases of a raw data set, read fast into what nnU-Net's own reader gives."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from numpy.typing import NDArray

from spine.errors import GridMismatchError, UnreadableVolumeError
from spine.nnunet.workspace import CHANNEL_SUFFIX
from spine.volume.nifti import read_volume, require_finite, require_whole

_SUFFIX = ".nii.gz"
_DAMAGE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, zlib.error)
"""What nibabel raises for a header that it can't read."""
Properties = dict[str, Any]
OnCase = Callable[[str, int, int], None]
"""Told after every case: the task, how many are done, and of how many."""


@dataclass(frozen=True)
class TrainingCase:
    """One case of a raw data set: its name, its image and its label map."""

    name: str
    image: Path
    labels: Path

    @property
    def voxels(self) -> int:
        """Voxels of the image, from its header; raises UnreadableVolumeError where it has none."""
        try:
            return math.prod(nibabel.load(self.image).shape)
        except _DAMAGE:
            return int(read_volume(self.image).array.size)

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the image and the label map in the number types of their headers; 0 where those can't be read."""
        try:
            stored = [nibabel.load(path) for path in (self.image, self.labels)]
            return sum(math.prod(file.shape) * file.get_data_dtype().itemsize for file in stored)
        except _DAMAGE:
            return 0


@dataclass(frozen=True)
class DecodedCase:
    """An image and its label map, both (1, k, j, i), and the properties that nnU-Net keeps of them."""

    image: NDArray[Any]
    labels: NDArray[Any]
    properties: Properties


def training_cases(dataset: Path) -> list[str]:
    """Return the names of a raw data set's training cases, sorted."""
    suffix = f"{CHANNEL_SUFFIX}{_SUFFIX}"
    return sorted(path.name.removesuffix(suffix) for path in (dataset / "imagesTr").glob(f"*{suffix}"))


def training_case(dataset: Path, name: str) -> TrainingCase:
    """Return where a case's image and label map lie."""
    return TrainingCase(
        name=name,
        image=dataset / "imagesTr" / f"{name}{CHANNEL_SUFFIX}{_SUFFIX}",
        labels=dataset / "labelsTr" / f"{name}{_SUFFIX}",
    )


def read_case(image: Path, labels: Path) -> DecodedCase:
    """Read a case from its two files, in their own number types.

    Raises GridMismatchError where their sizes differ, UnreadableVolumeError or one of its kinds for a damaged file.
    """
    voxels, properties = read_case_image(image)
    ids = read_case_labels(labels)
    if voxels.shape != ids.shape:
        raise GridMismatchError(image, labels, difference=f"sizes {voxels.shape[:0:-1]} and {ids.shape[:0:-1]}")
    return DecodedCase(image=voxels, labels=ids, properties=properties)


def read_case_image(path: Path) -> tuple[NDArray[Any], Properties]:
    """Return an image (1, k, j, i) in the file's own number type, and the properties that nnU-Net keeps of it.

    Raises UnreadableVolumeError or one of its kinds, naming the file.
    """
    array = read_volume(path).array
    require_finite(array, path=path)
    return _as_nnunet(path, array)


def read_case_labels(path: Path) -> NDArray[Any]:
    """Return a label map (1, k, j, i) in the file's own number type; refuse values that are no whole numbers."""
    array = read_volume(path).array
    require_whole(array, path=path)
    return _as_nnunet(path, array)[0]


def _as_nnunet(path: Path, array: NDArray[Any]) -> tuple[NDArray[Any], Properties]:
    header = SimpleITK.ImageFileReader()
    header.SetFileName(str(path))
    try:
        header.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
        raise UnreadableVolumeError(path, reason=f"is refused by nnU-Net's reader ({reason})") from error
    voxels = nibabel.load(path).dataobj
    if header.GetDimension() != 3 or (voxels.slope, voxels.inter) != (1, 0):
        # Where files say how to scale their numbers, or have a fourth axis, readers may differ in the last bit.
        images, properties = SimpleITKIO().read_images([str(path)])
        return images, properties
    spacing = header.GetSpacing()
    # Zeros without a sign, as reading the whole file leaves them.
    origin, direction = (tuple(value + 0.0 for value in given) for given in (header.GetOrigin(), header.GetDirection()))
    kept = {"spacing": spacing, "origin": origin, "direction": direction}
    # nnU-Net's arrays are (channel, k, j, i), and its spacing is reversed likewise.
    return array.T[None], {"sitk_stuff": kept, "spacing": list(np.abs(list(spacing)[::-1]))}
