"""What the network said on its own grid, and where a voxel of the scan lies in it."""

from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from spine.errors import MalformedFileError, MissingPathError
from spine.storage import atomic_file
from spine.values import Value
from spine.volume.grid import Grid

SUFFIX = ".logits.b2nd"
_CLEVEL = 5
_META = "place"


class Place(Value):
    """Where the network's grid lies in a scan: in nnU-Net's order of axes (slowest first, then as plans transpose)."""

    canonical: tuple[tuple[float, ...], ...]
    """Affine (4, 4) of the scan in RAS order."""
    transpose: tuple[int, int, int]
    first: tuple[int, int, int]
    """First voxel of the box that was cropped to what is not zero."""
    size: tuple[int, int, int]
    """Voxels of that box along each axis, before it was resampled to the network's grid."""


class Probabilities:
    """Logits of shape (26, a, b, c) on the network's grid, looked up by voxels of the scan they were made of."""

    def __init__(self, logits: NDArray[Any], place: Place) -> None:
        self._logits, self._place = logits, place

    def at(self, indices: NDArray[np.intp], *, grid: Grid) -> NDArray[np.float32]:
        """Return the softmax, shape (m, 26), of the network's voxels that hold the scan's voxels (m, 3) of ``grid``.

        A voxel outside the cropped box takes the nearest one inside.
        """
        first, second, third = self._inside(np.asarray(indices, dtype=np.float64), grid).T
        logits = self._logits[:, first, second, third].astype(np.float32)
        weights = np.exp(logits - logits.max(axis=0))
        shares: NDArray[np.float32] = (weights / weights.sum(axis=0)).T
        return shares

    def write(self, path: Path) -> None:
        """Write the logits as fp16, compressed and atomically: a few MB a scan, where full-size softmax takes GBs."""
        kept = np.ascontiguousarray(self._logits, dtype=np.float16)
        with atomic_file(path) as partial:
            # Blosc2 opens files by their suffix, and the partial one has another.
            packed = blosc2.asarray(kept, cparams={"clevel": _CLEVEL})
            packed.schunk.vlmeta[_META] = self._place.model_dump(mode="json")
            partial.write_bytes(packed.to_cframe())

    @classmethod
    def read(cls, path: Path) -> "Probabilities":
        """Read what ``write`` wrote; raises MissingPathError or MalformedFileError."""
        if not path.is_file():
            raise MissingPathError(path, expected="logits, as evaluate_folds keeps them where asked")
        try:
            packed = blosc2.ndarray_from_cframe(path.read_bytes(), copy=True)
            place = packed.schunk.vlmeta[_META]
        except (RuntimeError, ValueError, KeyError) as error:
            raise MalformedFileError(path, reason=f"can't be read ({error})", expected="logits in blosc2") from error
        return cls(packed[:], Place.parse(place, where=path))

    def _inside(self, indices: NDArray[np.float64], grid: Grid) -> NDArray[np.intp]:
        canonical = np.linalg.inv(np.asarray(self._place.canonical))
        points = grid.millimetres(indices) @ canonical[:3, :3].T + canonical[:3, 3]
        ordered = points[:, ::-1][:, list(self._place.transpose)] - np.asarray(self._place.first)
        size, network = np.asarray(self._place.size), np.asarray(self._logits.shape[1:])
        scaled = np.floor((np.rint(ordered) + 0.5) * network / size).astype(np.intp)
        clipped: NDArray[np.intp] = np.clip(scaled, 0, network - 1)
        return clipped
