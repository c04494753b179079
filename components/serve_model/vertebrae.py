"""What a mask says of every vertebra in it: name, code, volume, centroid, and whether the scan cuts it."""

import numpy as np

from spine.labels import VERTEBRAE
from spine.metrics.profiles import Profiles
from spine.values import Value
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

DISCLAIMER = "for research and decision support, not for clinical use"


class VertebraFinding(Value):
    """One vertebra of a mask."""

    label: int
    name: str
    snomed: str
    """SNOMED CT code."""
    voxels: int
    volume_mm3: float
    centroid_mm: tuple[float, float, float]
    """Mean of its voxel centres in RAS+ millimetres."""
    touches_border: bool
    """Whether the field of view cuts it, so that its volume is a lower bound."""


class GridOfScan(Value):
    """The scan's grid, which the mask shares."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    affine: tuple[tuple[float, ...], ...]


class SegmentationReport(Value):
    """The answer of ``POST /v1/segmentations`` where JSON was asked for."""

    version: int
    model_digest: str
    disclaimer: str = DISCLAIMER
    grid: GridOfScan
    vertebrae: tuple[VertebraFinding, ...]


def report(mask: Volume, *, version: int, model_digest: str) -> SegmentationReport:
    """Describe a uint8 label map of ids 0-25, shape (i, j, k)."""
    return SegmentationReport(
        version=version, model_digest=model_digest, grid=_grid(mask.grid), vertebrae=findings(mask)
    )


def findings(mask: Volume) -> tuple[VertebraFinding, ...]:
    """Return the vertebrae of a label map by label, those without a voxel left out."""
    profiles = Profiles.of(mask.array)
    voxels = profiles.axes[0].sum(axis=1)
    centroids, cut = profiles.centroids_mm(mask.grid), profiles.border_labels()
    return tuple(
        VertebraFinding(
            label=vertebra.id,
            name=vertebra.name,
            snomed=vertebra.snomed,
            voxels=int(voxels[vertebra.id]),
            volume_mm3=round(int(voxels[vertebra.id]) * mask.grid.voxel_mm3, 3),
            centroid_mm=_rounded(centroids[vertebra.id]),
            touches_border=vertebra.id in cut,
        )
        for vertebra in VERTEBRAE
        if voxels[vertebra.id]
    )


def _grid(grid: Grid) -> GridOfScan:
    return GridOfScan(shape=grid.shape, spacing_mm=grid.spacing_mm, orientation=grid.orientation, affine=grid.affine)


def _rounded(point: "np.typing.NDArray[np.float64]") -> tuple[float, float, float]:
    x, y, z = (round(float(value), 3) for value in point)
    return (x, y, z)
