"""Faults planted into right label maps, each with the flags of which at least one must then be raised."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.postprocessing import flags
from spine.postprocessing.instances import find_instances
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

Table = NDArray[np.float64]
"""What the network says by reference label, (26, 26): shares of the names 0-25."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A map with a fault, what the network saw where the map is not all, and the flags that tell it."""

    fault: str
    labels: Volume
    expected: tuple[str, ...]
    reference: Volume
    softmax: Table | None
    """None where the votes of the voxels are all that is known."""


def planted(reference: Volume) -> Iterator[Planted]:
    """Plant each fault at each vertebra of a right map that lies wholly in view between two others."""
    whole = {item.label for item in find_instances(reference).items if not item.at_border}
    present = [label for label in range(1, MAX_LABEL + 1) if (reference.array == label).any()]

    def made(fault: str, array: NDArray[np.uint8], *expected: str, minds: Table | None = None) -> Planted:
        labels = Volume(array=array, grid=reference.grid)
        return Planted(fault, labels, expected, reference, minds)

    for label in sorted(whole):
        array = reference.array
        if not {label - 1, label + 1} <= set(present):
            continue
        yield made("another has its name", renamed(array, {label: label - 1}), flags.REPEATED)
        yield made("missed by the network", renamed(array, {label: 0}), flags.SKIPPED, flags.WIDE)
        yield made("swapped with the next", renamed(array, {label: label + 1, label + 1: label}), flags.DISORDERED)
        yield made("more than half of it missed", _core(array, label, 0.45), flags.VOLUME)
        yield made("grown together with the next", _fused(reference, label), flags.VOLUME, flags.REPEATED)
        yield made("left half called as the next", _halved(reference, label), flags.SPLIT)
        run = [each for each in range(label, label + 3) if each in whole]
        minds = _minds(run, by=1, shares=(0.5, 0.4, 0.1))
        moved = renamed(array, {each: each + 1 for each in run})
        if label + 3 in present:
            yield made("a run of three a level off", moved, flags.LIKELIER, minds=minds)
        if not {1, MAX_LABEL} & set(present):  # an end of the spine in view leaves no doubt of the others
            minds = _minds(present, by=0, shares=(0.5, 0.45, 0.05))
            yield made("network in doubt of all levels", array, flags.LOW_MARGIN, minds=minds)
        yield cut(reference, label)
        yield _beside(reference, label, label, flags.VOLUME, flags.REPEATED, flags.OFF_SPINE)
        foreign = [each for each in range(1, MAX_LABEL + 1) if not {each - 1, each, each + 1} & set(present)]
        if foreign:
            yield _beside(reference, label, foreign[0], flags.OFF_SPINE)
            yield _blob(reference, label, foreign[0])


def renamed(array: NDArray[np.uint8], names: dict[int, int]) -> NDArray[np.uint8]:
    """Return a map with other names."""
    table = np.arange(MAX_LABEL + 1, dtype=np.uint8)
    for label, name in names.items():
        table[label] = name
    return table[array]


def cut(reference: Volume, label: int) -> Planted:
    """End the scan in the middle of a vertebra."""
    axis = int(np.abs(reference.grid.matrix[2, :3]).argmax())
    middle = int(np.argwhere(reference.array == label)[:, axis].mean())
    keep = tuple(slice(middle, None) if each == axis else slice(None) for each in range(3))
    array = np.ascontiguousarray(reference.array[keep])
    matrix = reference.grid.matrix.copy()
    matrix[:3, 3] += middle * matrix[:3, axis]
    volume = Volume(array=array, grid=Grid.of(array.shape, matrix))
    return Planted("ended by the border", volume, (flags.CUT,), volume, None)


def _beside(reference: Volume, label: int, name: int, *expected: str) -> Planted:
    """The same piece again, far to the side, under a name."""
    axis = int(np.abs(reference.grid.matrix[0, :3]).argmax())
    beyond = round(80 / reference.grid.spacing_mm[axis])
    array = np.pad(reference.array, [(beyond, 0) if each == axis else (0, 0) for each in range(3)])
    moved = np.argwhere(array == label)
    moved[:, axis] -= moved[:, axis].min() - 2
    array[tuple(moved.T)] = name
    matrix = reference.grid.matrix.copy()
    matrix[:3, 3] -= beyond * matrix[:3, axis]
    volume = Volume(array=array, grid=Grid.of(array.shape, matrix))
    fault = "the same again far beside it" + ("" if name == label else ", under a name not in view")
    return Planted(fault, volume, expected, volume, None)


def _blob(reference: Volume, label: int, name: int) -> Planted:
    """A ball of 15 mm radius, 80 mm to the side, under a name not in view."""
    axis = int(np.abs(reference.grid.matrix[0, :3]).argmax())
    beyond = round(110 / reference.grid.spacing_mm[axis])
    array = np.pad(reference.array, [(beyond, 0) if each == axis else (0, 0) for each in range(3)])
    centre = np.argwhere(array == label).mean(axis=0)
    centre[axis] -= 80 / reference.grid.spacing_mm[axis]
    steps = [
        (np.arange(size) - at) * edge
        for size, at, edge in zip(array.shape, centre, reference.grid.spacing_mm, strict=True)
    ]
    inside = sum(step**2 for step in np.meshgrid(*steps, indexing="ij", sparse=True)) < 15**2
    array[inside & (array == 0)] = name
    matrix = reference.grid.matrix.copy()
    matrix[:3, 3] -= beyond * matrix[:3, axis]
    volume = Volume(array=array, grid=Grid.of(array.shape, matrix))
    return Planted("a ball of 30 mm far beside it, under a name not in view", volume, (flags.OFF_SPINE,), volume, None)


def _core(array: NDArray[np.uint8], label: int, share: float) -> NDArray[np.uint8]:
    inside = np.argwhere(array == label)
    order = np.argsort(np.linalg.norm(inside - inside.mean(axis=0), axis=1))
    found = array.copy()
    found[tuple(inside[order[int(share * len(inside)) :]].T)] = 0
    return found


def _fused(reference: Volume, label: int) -> NDArray[np.uint8]:
    """The next lower vertebra and the disc have its name."""
    array = renamed(reference.array, {label + 1: label})
    axis = int(np.abs(reference.grid.matrix[2, :3]).argmax())
    upper, lower = (np.argwhere(reference.array == each) for each in (label, label + 1))
    ends = sorted((round(float(upper[:, axis].mean())), round(float(lower[:, axis].mean()))))
    middle = upper.mean(axis=0).round().astype(int)
    box = [slice(max(each - 4, 0), each + 5) for each in middle]
    box[axis] = slice(*ends)
    block = array[tuple(box)]
    block[block == 0] = label
    return array


def _halved(reference: Volume, label: int) -> NDArray[np.uint8]:
    axis = int(np.abs(reference.grid.matrix[0, :3]).argmax())
    inside = np.argwhere(reference.array == label)
    array = reference.array.copy()
    array[tuple(inside[inside[:, axis] < np.median(inside[:, axis])].T)] = label + 1
    return array


def _minds(labels: list[int], *, by: int, shares: tuple[float, float, float]) -> Table:
    """A network that sees these labels as the name ``by`` levels lower, or one more or less, and is sure of others."""
    table = np.eye(MAX_LABEL + 1)
    for label in labels:
        table[label] = 0
        for name, share in zip((label + by, label + (0 if by else 1), label - 1), shares, strict=True):
            table[label, min(max(name, 1), MAX_LABEL)] += share
    return table
