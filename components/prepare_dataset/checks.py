"""The checks of one case: each a named finding with a severity and a number, never a silent repair."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from components.prepare_dataset.layout import RawCase
from spine.dataset import Finding
from spine.errors import LabelValueError, MissingPathError, UnreadableVolumeError
from spine.labels import NAMES
from spine.volume.nifti import Volume, read_image, read_labels, to_canonical

# Below air and above metal implants, nothing in a CT is plausible.
_LOWEST_HU, _HIGHEST_HU = -2048.0, 32767.0
_CONTRAST_HU = 100.0
_FRAGMENT_MM3 = 500 * 1.5**3
_FRAGMENT_SHARE = 0.1
"""Of the larger neighbour's volume: on a coarse grid a sliver may exceed the absolute limit."""
_MAIN_COMPONENT_SHARE = 0.95
_SUPERIOR = 2


@dataclass(frozen=True)
class CheckedCase:
    """A case that passed every rejecting check, in canonical orientation."""

    raw: RawCase
    image: Volume
    labels: Volume
    source_orientation: str
    label_voxels: dict[int, int]
    border: tuple[int, ...]


def check_case(raw: RawCase) -> tuple[CheckedCase | None, list[Finding]]:
    """Read one raw case and run every check; a rejected case comes back as None with its reason."""

    def finding(check: str, severity: Literal["reject", "warn", "note"], message: str) -> Finding:
        return Finding(check=check, severity=severity, case=raw.case, message=message)

    if raw.duplicates:
        names = ", ".join(path.name for path in raw.duplicates)
        return None, [finding("unique-files", "reject", f"more than one file for this case: {names}")]
    if raw.image is None or raw.labels is None:
        missing = "volume" if raw.image is None else "mask"
        return None, [finding("one-mask-a-volume", "reject", f"has no {missing}")]
    try:
        image, labels = read_image(raw.image), read_labels(raw.labels)
    except (MissingPathError, UnreadableVolumeError) as error:
        return None, [finding("readable", "reject", str(error))]
    except LabelValueError as error:
        return None, [finding("label-ids", "reject", str(error))]
    rejected = _rejection(image, labels)
    if rejected:
        return None, [finding(rejected[0], "reject", rejected[1])]
    findings = []
    orientation = image.grid.orientation
    if orientation != "RAS":
        findings.append(finding("orientation", "note", f"{orientation} brought to RAS"))
    image, labels = to_canonical(image), to_canonical(labels)
    voxels = {
        int(label): int(count)
        for label, count in enumerate(np.bincount(labels.array.ravel(), minlength=26))
        if label and count
    }
    for check, message in _label_warnings(labels, voxels):
        findings.append(finding(check, "warn", message))
    border = tuple(label for label in voxels if _touches_border(labels.array == label))
    for label in border:
        neighbour = max((voxels.get(label + step, 0) for step in (-1, 1)), default=0)
        limit = max(_FRAGMENT_MM3, _FRAGMENT_SHARE * neighbour * labels.grid.voxel_mm3)
        if voxels[label] * labels.grid.voxel_mm3 <= limit:
            findings.append(
                finding("border-fragment", "note", f"{NAMES[label]} is a fragment of {voxels[label]} voxels")
            )
    checked = CheckedCase(
        raw=raw,
        image=image,
        labels=labels,
        source_orientation=orientation,
        label_voxels=voxels,
        border=border,
    )
    return checked, findings


def _rejection(image: Volume, labels: Volume) -> tuple[str, str] | None:
    if not image.grid.is_orthonormal:
        return "orthonormal-axes", "axes of the direction matrix are not perpendicular within 1e-4"
    difference = image.grid.difference(labels.grid)
    if difference:
        return "one-grid", f"volume and mask lie on different grids: {difference}"
    low, high = float(image.array.min()), float(image.array.max())
    if low < _LOWEST_HU or high > _HIGHEST_HU or high - low < _CONTRAST_HU:
        return "hounsfield-range", f"voxels span {low:g} to {high:g}; expected a CT in HU"
    if not labels.array.any():
        return "mask-not-empty", "mask holds no vertebra"
    return None


def _label_warnings(labels: Volume, voxels: dict[int, int]) -> Iterator[tuple[str, str]]:
    present = sorted(voxels)
    for upper, lower in pairwise(present):
        if lower != upper + 1:
            yield "contiguous-levels", f"{NAMES[upper]} is followed by {NAMES[lower]}"
    boxes = ndimage.find_objects(labels.array, max_label=25)
    heights = {}
    for label in present:
        box = boxes[label - 1]
        mask = labels.array[box] == label
        # A cut level's centroid says little: order is judged on the middle of what is seen.
        heights[label] = float(np.argwhere(mask)[:, _SUPERIOR].mean()) + box[_SUPERIOR].start
        share = _main_component_share(mask)
        if share < _MAIN_COMPONENT_SHARE:
            yield "one-component", f"{NAMES[label]}: main component holds {share:.0%} of its voxels"
    for upper, lower in pairwise(present):
        if heights[lower] >= heights[upper]:
            yield "superior-to-inferior", f"{NAMES[lower]} lies above {NAMES[upper]}"


def _main_component_share(mask: NDArray[np.bool_]) -> float:
    components, count = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
    if count <= 1:
        return 1.0
    sizes = np.bincount(components.ravel())[1:]
    return float(sizes.max() / sizes.sum())


def _touches_border(mask: NDArray[Any]) -> bool:
    faces = (mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1])
    return any(face.any() for face in faces)
