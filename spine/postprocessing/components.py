"""The largest component of a label, kept as nnU-Net keeps it, and the voxel counts that tell whether that helps."""

from collections.abc import Collection
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.metrics.overlap import joint_counts
from spine.postprocessing.cropping import bone_box, indices_of

_FULL_CONNECTIVITY = 26


@dataclass(frozen=True, eq=False)
class ComponentCounts:
    """One case's voxel counts, int64 of shape (26, 3): by label those in the reference, predicted, and common.

    ``plain`` is the prediction as it is, ``kept`` with the largest component of every label alone.
    """

    plain: NDArray[np.int64]
    kept: NDArray[np.int64]


def keep_largest(array: NDArray[np.uint8], labels: Collection[int]) -> NDArray[np.uint8]:
    """Return a copy in which each of ``labels`` has its largest component only; the others become background.

    As nnU-Net 2.8.1's ``remove_all_but_largest_component_from_segmentation``, called once a label: voxels connect
    by faces, edges and corners, and of several largest components all stay.
    """
    kept = array.copy(order="K")
    box = bone_box(array)
    if box is None or not labels:
        return kept
    bone = np.ascontiguousarray(array[box])
    components, count = cc3d.connected_components(bone, connectivity=_FULL_CONNECTIVITY, return_N=True)
    voxels = np.flatnonzero(components)
    owners = components.ravel()[voxels]
    sizes = np.bincount(owners, minlength=count + 1)
    names = np.zeros(count + 1, dtype=np.uint8)
    names[owners] = bone.ravel()[voxels]
    largest = np.zeros(MAX_LABEL + 1, dtype=np.int64)
    np.maximum.at(largest, names, np.where(names > 0, sizes, 0))
    doomed = np.isin(names, list(labels)) & (sizes < largest[names])
    kept[tuple(indices_of(voxels[doomed[owners]], box=box).T)] = 0
    return kept


def keep_largest_bone(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy with the largest component of all labels merged; of several largest ones all stay.

    nnU-Net tries this first. A spine falls apart at its discs, so this may remove whole vertebrae.
    """
    merged = keep_largest((array > 0).astype(np.uint8), (1,))
    return np.where(merged > 0, array, 0).astype(np.uint8)


def counts_with_and_without(*, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> ComponentCounts:
    """Count one case's voxels as predicted and with the largest component of each label; the maps can then go.

    Keeping a label's largest component changes no other label's counts, so one pass serves all 25 decisions.
    Raises GridMismatchError where the shapes differ, InvalidValueError where a map is not uint8 within 0-25.
    """
    plain = joint_counts(reference=reference, prediction=prediction)
    kept = joint_counts(reference=reference, prediction=keep_largest(prediction, range(1, MAX_LABEL + 1)))
    return ComponentCounts(plain=_by_label(plain), kept=_by_label(kept))


def _by_label(joint: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([joint.sum(axis=1), joint.sum(axis=0), joint.diagonal()], axis=1)
