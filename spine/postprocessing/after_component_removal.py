"""What is left of the vertebrae that were named, once parts of the map are removed."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.decoding import Decoded, Named, as_labelled
from spine.postprocessing.flags import REPEATED
from spine.postprocessing.instances import Instances
from spine.volume.nifti import Volume


def remaining(decoded: Decoded, kept: Volume, *, instances: Instances) -> Decoded:
    """Describe ``kept``, the map of ``decoded`` with some of its bone removed; ``instances`` are those of that map.

    Every vertebra stays in its place, one of which nothing is left with 0 voxels and the centroid it had.
    """
    if instances.is_hopeless:
        return replace(decoded, labels=kept, vertebrae=as_labelled(kept))
    labels = np.ascontiguousarray(kept.array[instances.box]).ravel()[instances.voxels]
    left = labels > 0
    counts = np.bincount(instances.owners[left & (instances.owners >= 0)], minlength=len(decoded.vertebrae)).tolist()
    vertebrae = [
        named
        if count == named.voxels
        else _of_rest(named, instances.indices(np.flatnonzero(left & (instances.owners == place))), kept=kept)
        for place, (named, count) in enumerate(zip(decoded.vertebrae, counts, strict=True))
    ]
    unassigned_voxels = np.bincount(labels[left & (instances.owners < 0)])
    return Decoded(
        labels=kept,
        vertebrae=_not_repeated(vertebrae),
        unassigned_voxels={int(label): int(unassigned_voxels[label]) for label in np.flatnonzero(unassigned_voxels)},
    )


def _of_rest(named: Named, indices: NDArray[np.intp], *, kept: Volume) -> Named:
    """Return a vertebra as its remaining voxels (m, 3) have it."""
    if not len(indices):
        return replace(named, voxels=0, mm3=0.0, touches_border=False)
    x, y, z = (float(value) for value in kept.grid.millimetres(indices.mean(axis=0)))
    at_border = (indices == 0).any() or (indices == np.array(kept.grid.shape) - 1).any()
    return replace(
        named,
        voxels=len(indices),
        mm3=len(indices) * kept.grid.voxel_mm3,
        centroid_mm=(x, y, z),
        touches_border=bool(at_border),
    )


def _not_repeated(vertebrae: list[Named]) -> tuple[Named, ...]:
    """Take the flag of a repeated level from a vertebra whose doubles are all removed."""
    left = [named.label for named in vertebrae if named.voxels]
    return tuple(
        replace(named, flags=tuple(flag for flag in named.flags if flag != REPEATED or left.count(named.label) > 1))
        for named in vertebrae
    )
