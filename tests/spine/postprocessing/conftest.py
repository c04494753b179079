"""Naming faults planted into phantom label maps, and the softmax of a network that would commit them."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.phantom import make_scan
from spine.volume.nifti import Volume

Shares = dict[int, dict[int, float]]


@dataclass(frozen=True)
class Fault:
    """A reference, and a prediction on the same bone with some names wrong."""

    reference: Volume
    prediction: Volume


class Planter:
    """Makes label maps of phantoms and plants faults into them."""

    def spine(self, *, patient: int, first: int = 8, last: int = 22, seed: int = 31, spacing_mm: float = 3.0) -> Volume:
        """A phantom's label map with about the levels asked for."""
        return make_scan(seed=seed, patient=patient, first=first, last=last, spacing_mm=(spacing_mm,) * 3).labels

    def renamed(self, volume: Volume, names: dict[int, int]) -> Fault:
        """Some vertebrae have other names, as ``names`` says."""
        table = np.arange(MAX_LABEL + 1, dtype=np.uint8)
        for label, name in names.items():
            table[label] = name
        return Fault(volume, Volume(array=table[volume.array], grid=volume.grid))

    def swapped(self, volume: Volume, *, label: int) -> Fault:
        """A vertebra and the one below have each other's name."""
        return self.renamed(volume, {label: label + 1, label + 1: label})

    def split(self, volume: Volume, *, label: int, name: int, axis: int) -> Fault:
        """Of one vertebra the voxels beyond its median along an axis have another name."""
        inside = np.argwhere(volume.array == label)
        array = volume.array.copy()
        array[tuple(inside[inside[:, axis] > np.median(inside[:, axis])].T)] = name
        return Fault(volume, Volume(array=array, grid=volume.grid))

    def softmax(self, reference: Volume, shares: Shares):
        """A network that gives a reference label these shares of its bone, and is certain of every other label."""
        table = np.zeros((MAX_LABEL + 1, MAX_LABEL + 1), dtype=np.float32)
        for label in range(1, MAX_LABEL + 1):
            table[label, 0] = 0.1
            for name, share in shares.get(label, {label: 1.0}).items():
                table[label, name] = 0.9 * share

        def probabilities(indices: NDArray[np.intp]) -> NDArray[np.float32]:
            return table[reference.array[tuple(indices.T)]]

        return probabilities


@pytest.fixture(scope="session")
def plant() -> Planter:
    """What plants faults."""
    return Planter()


def labels_of(volume: Volume) -> list[int]:
    """The labels in a map, in order."""
    return [int(label) for label in np.unique(volume.array) if label]


@pytest.fixture(scope="session")
def present():
    """A function of a volume that gives its labels in order."""
    return labels_of
