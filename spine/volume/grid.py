"""The grid a volume lies on: shape, affine, spacing, orientation, and whether two grids are one."""

from dataclasses import dataclass

import nibabel
import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Grid:
    """Voxel grid in NIfTI terms: axes i, j, k and an affine (4, 4) from voxel index to RAS+ millimetres."""

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], affine: NDArray[np.float64]) -> "Grid":
        """Build a grid from an array's shape and a (4, 4) affine."""
        i, j, k = (int(size) for size in shape)
        return cls(shape=(i, j, k), affine=tuple(tuple(float(cell) for cell in row) for row in affine))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as a float64 array of shape (4, 4)."""
        return np.asarray(self.affine, dtype=np.float64)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edge lengths in mm along i, j, k."""
        i, j, k = (float(np.linalg.norm(column)) for column in self.matrix[:3, :3].T)
        return (i, j, k)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm³."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    @property
    def orientation(self) -> str:
        """Axis codes of the closest anatomical axes, such as ``RAS`` or ``PIR``."""
        return "".join(str(code) for code in nibabel.aff2axcodes(self.matrix))

    @property
    def largest_cosine(self) -> float:
        """The largest cosine between two of the axes: 0 where they are perpendicular."""
        directions = self.matrix[:3, :3] / np.asarray(self.spacing_mm)
        return float(np.abs(directions.T @ directions - np.eye(3)).max())

    @property
    def is_orthonormal(self) -> bool:
        """Whether the three axes are perpendicular within 1e-4, as ITK demands."""
        return self.largest_cosine <= TOLERANCE

    def difference(self, other: "Grid") -> str | None:
        """Say how ``other`` differs (size, spacing, origin or direction, 1e-4), or None where it does not."""
        if self.shape != other.shape:
            return f"size {self.shape} against {other.shape}"
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=TOLERANCE):
            return f"spacing {_rounded(self.spacing_mm)} against {_rounded(other.spacing_mm)} mm"
        ours, theirs = self.matrix, other.matrix
        if not np.allclose(ours[:3, 3], theirs[:3, 3], rtol=0, atol=TOLERANCE):
            return f"origin {_rounded(ours[:3, 3])} against {_rounded(theirs[:3, 3])} mm"
        if not np.allclose(ours, theirs, rtol=0, atol=TOLERANCE):
            turned = np.degrees(np.arccos(np.clip(_least_cosine(ours, theirs), -1, 1)))
            return f"direction {self.orientation} against {other.orientation}, {turned:.2g} degrees apart"
        return None

    def millimetres(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map voxel indices of shape (..., 3) to RAS+ millimetres."""
        return np.asarray(index @ self.matrix[:3, :3].T + self.matrix[:3, 3], dtype=np.float64)


def _least_cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    axes, others = (matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0) for matrix in (first, second))
    return float((axes * others).sum(axis=0).min())


def _rounded(values: object) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in np.asarray(values))
