"""VerSe's centroids against its mask: two annotations of the same levels that should agree."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform
from numpy.typing import NDArray

from components.prepare_dataset.label_maps import LabelMap
from components.prepare_dataset.reading import Remark
from spine.errors import MalformedFileError
from spine.labels import IDS, NAMES
from spine.volume.nifti import Volume

_WITHIN_MM: Final = 20.0
"""As VerSe counts a vertebra as identified; of several vertebrae within it, the nearest is meant."""
_EXPECTED: Final = "VerSe's list of a direction and of label, X, Y, Z in voxels"


def centroids_agree(path: Path, *, labels: Volume, label_map: LabelMap) -> Iterator[Remark]:
    """Yield a remark where a centroid of ``path`` does not lie in the vertebra of its name.

    ``labels`` is the mask as stored, in our ids: the centroids are voxels of its grid, in the axis order that the
    file's first entry states. Raises MalformedFileError for a file that is none of VerSe's.
    """
    direction, points = _read(path)
    turn = ornt_transform(axcodes2ornt(tuple(direction)), axcodes2ornt(tuple(labels.grid.orientation)))
    wrong = []
    for theirs, point in points:
        ours = label_map.ids.get(theirs)
        if ours is None:
            continue
        near = _near_labels(labels, _turned(point, turn, labels.array.shape))
        # The middle of C1's ring lies in the canal, nearest to the dens of C2.
        if near[:1] != [ours] and not (ours == IDS["C1"] and ours in near):
            wrong.append(f"{NAMES[ours]} marks {NAMES[near[0]] if near else 'no bone'}")
    if wrong:
        yield Remark("centroids-agree", len(wrong), f"{path.name}: {', '.join(wrong)}")


def _read(path: Path) -> tuple[str, list[tuple[int, NDArray[np.float64]]]]:
    try:
        head, *rows = json.loads(path.read_text(encoding="utf-8"))
        direction = "".join(head["direction"])
        axcodes2ornt(tuple(direction))
        points = [(int(row["label"]), np.array([row["X"], row["Y"], row["Z"]], dtype=float)) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedFileError(path, reason=f"can't be read ({error})", expected=_EXPECTED) from error
    return direction, points


def _turned(point: NDArray[np.float64], turn: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a point, given in another axis order, as voxels of an array of ``shape``."""
    turned = np.empty(3)
    for axis, (target, flip) in enumerate(turn.astype(int)):
        turned[target] = point[axis] if flip > 0 else shape[target] - 1 - point[axis]
    return turned


def _near_labels(labels: Volume, point: NDArray[np.float64]) -> list[int]:
    """Return the labels within 20 mm of a voxel position, nearest first."""
    spacing = np.asarray(labels.grid.spacing_mm)
    reach = np.ceil(_WITHIN_MM / spacing).astype(int)
    middle = np.rint(point).astype(int)
    low = np.clip(middle - reach, 0, labels.array.shape)
    box = tuple(slice(int(a), max(int(b), 0)) for a, b in zip(low, middle + reach + 1, strict=True))
    around = labels.array[box]
    at = np.argwhere(around)
    distances = np.linalg.norm((at + low - point) * spacing, axis=1)
    ids = around[tuple(at.T)]
    by_label = {int(label): float(distances[ids == label].min()) for label in np.unique(ids)}
    return [label for label in sorted(by_label, key=lambda label: by_label[label]) if by_label[label] <= _WITHIN_MM]
