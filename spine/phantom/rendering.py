"""Drawing solids into a CT grid with partial-volume edges, each voxel of bone owned by one structure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine.phantom.posture import Frame
from spine.phantom.shapes import Field, Points, Position
from spine.phantom.vertebrae import Shape

Window = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Solid:
    """One structure: its shape within a box (mm) of its frame, its HU and its label id.

    A shell of ``shell_mm`` at the surface has ``shell_hu``, the rest ``core_hu``. ``label`` is 0 for bone that
    is no vertebra of ours, and None for soft tissue, which takes no voxel from a vertebra.
    """

    shape: Shape
    frame: Frame
    low_mm: Position
    high_mm: Position
    core_hu: float
    shell_hu: float = 0.0
    shell_mm: float = 0.0
    label: int | None = None


@dataclass(frozen=True, eq=False)
class Canvas:
    """Arrays of one shape (i, j, k) that solids are drawn into: float32 HU, uint8 ids, and the owner's distance.

    ``to_patient`` (4, 4) maps voxel indices to patient millimetres; ``edge_mm`` is the width of a voxel.
    """

    image: Field
    labels: NDArray[np.uint8]
    owner_mm: Field
    to_patient: NDArray[np.float64]
    edge_mm: float

    @classmethod
    def blank(cls, shape: tuple[int, int, int], *, to_patient: NDArray[np.float64], edge_mm: float) -> "Canvas":
        """Return a canvas of air without labels."""
        return cls(
            image=np.full(shape, -1000.0, dtype=np.float32),
            labels=np.zeros(shape, dtype=np.uint8),
            owner_mm=np.zeros(shape, dtype=np.float32),
            to_patient=to_patient,
            edge_mm=edge_mm,
        )

    def points(self, *, frame: Frame, window: Window) -> Points:
        """Return the voxel centres of a window in a frame's millimetres, three arrays of the window's shape."""
        matrix = frame.axes.T @ self.to_patient[:3, :3]
        offset = frame.axes.T @ (self.to_patient[:3, 3] - frame.origin)
        i, j, k = np.ogrid[window]
        x, y, z = (
            (row[0] * i + row[1] * j + (row[2] * k + start)).astype(np.float32)
            for row, start in zip(matrix, offset, strict=True)
        )
        return x, y, z

    def draw(self, solid: Solid) -> None:
        """Draw one solid; of two bones that meet in a voxel, the one that it lies deeper in owns it."""
        window = self._window(solid)
        if window is None:
            return
        distance = solid.shape(self.points(frame=solid.frame, window=window))
        self._mix(window, distance, solid)
        if solid.label is not None:
            owner = self.owner_mm[window]
            taken = distance < owner
            self.labels[window][taken] = solid.label
            owner[taken] = distance[taken]

    def _mix(self, window: Window, distance: Field, solid: Solid) -> None:
        # Exact averages over a voxel for a plane boundary: its share in the solid, and of that in the shell.
        near, far = -distance - self.edge_mm / 2, -distance + self.edge_mm / 2
        solid_share = np.clip(far, 0, self.edge_mm) / self.edge_mm
        shell_share = np.maximum(np.minimum(far, solid.shell_mm) - np.maximum(near, 0), 0) / self.edge_mm
        image = self.image[window]
        image *= 1 - solid_share
        image += (solid_share - shell_share) * np.float32(solid.core_hu) + shell_share * np.float32(solid.shell_hu)

    def _window(self, solid: Solid) -> Window | None:
        ends = zip(solid.low_mm, solid.high_mm, strict=True)
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
        placed = corners @ solid.frame.axes.T + solid.frame.origin - self.to_patient[:3, 3]
        index = placed @ np.linalg.inv(self.to_patient[:3, :3]).T
        first = np.maximum(np.floor(index.min(axis=0)).astype(int) - 1, 0)
        last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 2, self.image.shape)
        if np.any(first >= last):
            return None
        i, j, k = (slice(int(start), int(stop)) for start, stop in zip(first, last, strict=True))
        return i, j, k
