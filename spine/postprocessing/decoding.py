"""Anatomical decoding: vertebrae of a label map named anew where the order of the spine says so, none removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

import cc3d
import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.cropping import bone_box
from spine.postprocessing.flags import NOT_DECODED, flags_of
from spine.postprocessing.instances import Instances, find_instances
from spine.postprocessing.label_scores import Evidence, require_evidence, vote_evidence
from spine.postprocessing.naming import DecodingSettings, Naming, name_instances
from spine.postprocessing.volumes import implausible
from spine.volume.nifti import Volume


@dataclass(frozen=True)
class Named:
    """One vertebra after decoding: its name, what most of it was called before, where it lies, and what to look at."""

    label: int
    was: int
    confidence: float
    """The mean share, 0-1, that its voxels' evidence gives its name; 0 where no vertebrae were looked for."""
    margin: float
    """By how much, in nats, the best naming that gives this vertebra another name is dearer; 0 where it is cheaper."""
    flags: tuple[str, ...]
    voxels: int
    mm3: float
    centroid_mm: tuple[float, float, float]
    """Mean of its voxel centres in RAS+ millimetres."""
    touches_border: bool
    """Whether it reaches a face of the scan."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A label map with its vertebrae from superior to inferior; bone is where it was before."""

    labels: Volume
    vertebrae: tuple[Named, ...]
    unassigned_voxels: Mapping[int, int] = field(default_factory=dict)
    """Voxels, by label, of crumbs that belong to none of the vertebrae."""


def decode(
    labels: Volume,
    *,
    settings: DecodingSettings,
    evidence: Evidence | NDArray[np.float64] | None = None,
    instances: Instances | None = None,
) -> Decoded:
    """Name the vertebrae of a label map (i, j, k), uint8 ids 0-25, most probably in order; never delete bone.

    ``evidence`` is (n, 25), one row a vertebra; left out, the voxels vote. ``instances`` saves finding them again.
    Where the margin of one in a run of new names is below ``settings.margin`` the whole run keeps the names that
    the network gave, and says so; so does every one where the settings don't ``rename``, and what lies off the
    spine. A map whose names are in order comes back bit for bit, and so does one that is no spine's, whose
    ``vertebrae`` are then its labels, flagged as not decoded.
    Raises InvalidValueError for another dtype or label and for evidence of another shape, DigestMismatchError for
    stored evidence of another mask.
    """
    found = find_instances(labels) if instances is None else instances
    matrix = _matrix(evidence, labels=labels, instances=found)
    if found.is_hopeless:
        return Decoded(labels=_relabelled(labels, found, names=[], changed=[]), vertebrae=as_labelled(labels))
    naming = name_instances(found, matrix, settings=settings)
    votes = vote_evidence(found)
    was = [item.label for item in found.items]
    sure = _sure(naming, was=was, margin=settings.margin)
    used = [
        is_sure and settings.rename and not item.is_off_spine for is_sure, item in zip(sure, found.items, strict=True)
    ]
    final = [name if is_used else old for name, old, is_used in zip(naming.names, was, used, strict=True)]
    mixed = votes.max(axis=1, initial=0.0) < 1.0
    changed = [
        is_used and (name != old or mix) for name, old, mix, is_used in zip(final, was, mixed, used, strict=True)
    ]
    return Decoded(
        labels=_relabelled(labels, found, names=final, changed=changed),
        vertebrae=_described(found, naming=naming, final=final, sure=sure, votes=votes, evidence=matrix),
        unassigned_voxels=_unassigned_voxels(found),
    )


def _described(
    instances: Instances,
    *,
    naming: Naming,
    final: list[int],
    sure: list[bool],
    votes: NDArray[np.float64],
    evidence: NDArray[np.float64],
) -> tuple[Named, ...]:
    was = [item.label for item in instances.items]
    odd = implausible(instances, names=final)
    return tuple(
        Named(
            label=final[place],
            was=was[place],
            confidence=_share(evidence[place], final[place]),
            margin=naming.margins[place] if final[place] == naming.names[place] else 0.0,
            flags=flags_of(
                place,
                final=final,
                was=was,
                sure=sure[place],
                likelier=sure[place] and naming.names[place] != final[place],
                share=float(votes[place].max()),
                odd_volume=odd[place],
                instances=instances,
            ),
            voxels=item.voxels,
            mm3=item.mm3,
            centroid_mm=item.centroid_mm,
            touches_border=item.at_border,
        )
        for place, item in enumerate(instances.items)
    )


def _share(row: NDArray[np.float64], name: int) -> float:
    """Return the part of a vertebra's evidence (25,) that a name has; the evidence need not be shares of 1."""
    whole = float(row.sum())
    return float(row[name - 1]) / whole if whole > 0 else 0.0


def _unassigned_voxels(instances: Instances) -> dict[int, int]:
    counts = np.bincount(instances.names[instances.owners < 0])
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}


def _matrix(
    evidence: Evidence | NDArray[np.float64] | None, *, labels: Volume, instances: Instances
) -> NDArray[np.float64]:
    if evidence is None:
        return vote_evidence(instances)
    if isinstance(evidence, Evidence):
        return evidence.matrix(labels, instances=instances)
    require_evidence(evidence, instances=instances)
    return evidence


def _sure(naming: Naming, *, was: list[int], margin: float) -> list[bool]:
    """Say of each vertebra whether its name may be used: half of a swap must not be carried out."""
    sure: list[bool] = []
    renamed = [name != old for name, old in zip(naming.names, was, strict=True)]
    for is_renamed, places in groupby(range(len(was)), key=lambda place: renamed[place]):
        certain = [naming.margins[place] >= margin for place in places]
        sure += [all(certain)] * len(certain) if is_renamed else certain
    return sure


def _relabelled(labels: Volume, instances: Instances, *, names: list[int], changed: list[bool]) -> Volume:
    array = labels.array.copy(order="K")
    if any(changed):
        table = np.where(changed, names, 0).astype(np.uint8)
        inside = np.flatnonzero(instances.owners >= 0)
        fresh = table[instances.owners[inside]]
        numbers = inside[fresh > 0]
        array[tuple(instances.indices(numbers).T)] = fresh[fresh > 0]
    return Volume(array=array, grid=labels.grid)


def as_labelled(labels: Volume) -> tuple[Named, ...]:
    """Return one entry a label, whatever its pieces are; not a map's whole bone is listed for that."""
    box = bone_box(labels.array)
    if box is None:
        return ()
    statistics = cc3d.statistics(np.ascontiguousarray(labels.array[box]), no_slice_conversion=True)
    start = np.array([edge.start for edge in box])
    counts = statistics["voxel_counts"]
    present = [label for label in np.flatnonzero(counts).tolist() if label]
    centroids = labels.grid.millimetres(statistics["centroids"][present] + start).tolist()
    ranges = statistics["bounding_boxes"][present].astype(np.int64).reshape(-1, 3, 2) + start[None, :, None]
    at_border = ((ranges[..., 0] == 0) | (ranges[..., 1] == np.array(labels.grid.shape) - 1)).any(axis=1)
    return tuple(
        Named(
            label=label,
            was=label,
            confidence=0.0,
            margin=0.0,
            flags=(NOT_DECODED,),
            voxels=int(counts[label]),
            mm3=int(counts[label]) * labels.grid.voxel_mm3,
            centroid_mm=(x, y, z),
            touches_border=bool(is_at_border),
        )
        for label, (x, y, z), is_at_border in zip(present, centroids, at_border, strict=True)
    )
