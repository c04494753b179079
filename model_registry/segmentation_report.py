"""What the reader of a mask is told: every vertebra with its name, place, size and flags, and flags of the scan."""

from typing import Annotated, Final

from pydantic import Field

from model_registry.scan_flags import DEFINITIONS, NOT_COMPARED, NOTHING_FOUND, SCAN_DEFINITIONS, scan_flags
from model_registry.training_distribution import TrainingDistribution
from spine.labels import NAMES, VERTEBRAE
from spine.postprocessing.decoding import Decoded, Named
from spine.postprocessing.flags import DEFINITIONS as VERTEBRA_DEFINITIONS
from spine.values import Value
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

DISCLAIMER = "for research and decision support, not for clinical use"
FLAG_NAMES: Final = tuple(DEFINITIONS)
"""Every flag that a report can hold, of a scan or of a vertebra."""


def _defined(what: str, definitions: dict[str, str]) -> str:
    return "\n".join((what, "", *(f"- `{name}`: {meaning}" for name, meaning in definitions.items())))


ScanFlag = Annotated[str, Field(json_schema_extra={"enum": list(SCAN_DEFINITIONS)})]
VertebraFlag = Annotated[str, Field(json_schema_extra={"enum": list(VERTEBRA_DEFINITIONS)})]


class VertebraFinding(Value):
    """One vertebra of a mask."""

    label: int = Field(ge=1, le=25, description="Its id in the mask, 1-25; of a split name that of most of it.")
    name: str = Field(description="C1 to S1.")
    snomed: str = Field(description="SNOMED CT code.")
    voxels: int
    volume_mm3: float
    centroid_mm: tuple[float, float, float] = Field(description="Mean of its voxel centres in RAS+ millimetres.")
    confidence: float = Field(
        ge=0,
        le=1,
        description="The network's mean share for the name, background left out, over up to 500 voxels of it.",
    )
    margin: float = Field(
        ge=0,
        description="By how much, in nats, the best naming of the spine that gives it another name is less likely.",
    )
    touches_border: bool = Field(description="Whether the field of view cuts it: its volume is a lower bound.")
    flags: tuple[VertebraFlag, ...] = Field(
        description=_defined("What to look at, from the gravest to the mildest:", VERTEBRA_DEFINITIONS)
    )


class GridOfScan(Value):
    """The scan's grid, which the mask shares."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    affine: tuple[tuple[float, ...], ...]


class SegmentationReport(Value):
    """What a version found in a scan."""

    version: int | None = Field(description="Number of the version; null where a model is used by itself.")
    model_digest: str
    disclaimer: str = DISCLAIMER
    grid: GridOfScan
    vertebrae: tuple[VertebraFinding, ...] = Field(description="From superior to inferior.")
    stray_voxels: dict[str, int] = Field(
        description="Voxels of the mask, by name, of crumbs that belong to none of the vertebrae."
    )
    flags: tuple[ScanFlag, ...] = Field(description=_defined("What to know of the whole scan:", SCAN_DEFINITIONS))
    remarks: tuple[str, ...] = Field(
        description="A sentence for each flag of the scan, and for what could not be compared with the training."
    )

    def raised(self) -> tuple[str, ...]:
        """Return every flag of the scan and of its vertebrae, as often as it was raised."""
        return self.flags + tuple(flag for vertebra in self.vertebrae for flag in vertebra.flags)


def report(
    decoded: Decoded,
    scan: Volume,
    *,
    version: int | None,
    model_digest: str,
    training_distribution: TrainingDistribution | None,
) -> SegmentationReport:
    """Describe the mask of a scan (i, j, k) in HU, both on one grid.

    ``training_distribution`` is that of the version's bundle; without one the scan is not compared with the training
    data, which the remarks state.
    """
    vertebrae = tuple(_finding(named) for named in decoded.vertebrae if named.voxels)
    flagged = {} if vertebrae else {NOTHING_FOUND: "no vertebra was found: is a spine in view, and is it a CT in HU?"}
    if training_distribution is not None:
        flagged |= scan_flags(scan, decoded.labels, training_distribution=training_distribution)
    return SegmentationReport(
        version=version,
        model_digest=model_digest,
        grid=_grid(scan.grid),
        vertebrae=vertebrae,
        stray_voxels={NAMES[label]: count for label, count in sorted(decoded.unassigned_voxels.items())},
        flags=tuple(flagged),
        remarks=tuple(flagged.values()) + ((NOT_COMPARED,) if training_distribution is None else ()),
    )


def _finding(named: Named) -> VertebraFinding:
    vertebra = VERTEBRAE[named.label - 1]
    return VertebraFinding(
        label=vertebra.id,
        name=vertebra.name,
        snomed=vertebra.snomed,
        voxels=named.voxels,
        volume_mm3=round(named.mm3, 3),
        centroid_mm=_rounded(named.centroid_mm),
        confidence=round(named.confidence, 4),
        margin=round(named.margin, 3),
        touches_border=named.touches_border,
        flags=named.flags,
    )


def _grid(grid: Grid) -> GridOfScan:
    return GridOfScan(shape=grid.shape, spacing_mm=grid.spacing_mm, orientation=grid.orientation, affine=grid.affine)


def _rounded(point: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (round(value, 3) for value in point)
    return (x, y, z)
