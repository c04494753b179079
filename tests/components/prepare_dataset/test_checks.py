"""Each fault of the table in DOMAIN.md, planted in one case of a clean set, gives exactly its own finding."""

import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from components.prepare_dataset.checks import check_case
from components.prepare_dataset.layout import RawCase
from spine.labels import IDS
from spine.phantom import make_scan
from spine.volume.nifti import to_canonical, write_volume

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def nan(array):
    changed = array.astype(np.float32)
    changed[2, 3, 4] = np.nan
    return changed


def swapped(array):
    return np.choose(np.isin(array, (21, 22)) * array.astype(int) - 20, [22, 21], mode="clip") * np.isin(
        array, (21, 22)
    ) + array * ~np.isin(array, (21, 22))


def relabelled(old, new):
    def change(array):
        return np.where(array == old, new, array).astype(array.dtype)

    return change


def split_in_two(array):
    # A slab of one slice is taken out of the middle of L2.
    changed = array.copy()
    levels = np.flatnonzero((array == 21).any(axis=(0, 1)))
    middle = int(levels[len(levels) // 2])
    layer = changed[:, :, middle]
    layer[layer == 21] = 0
    return changed


def with_fragment(array):
    # A few voxels of T12 at the very top, in one piece; the remainder of T12 is dropped.
    changed = relabelled(IDS["T12"], 0)(array)
    changed[10:12, 10:12, -1] = IDS["T12"]
    return changed


VOXEL_FAULTS = {
    "fourth dimension": ("image", lambda array: np.stack([array, array], axis=-1), "readable", "reject"),
    "NaN voxel": ("image", nan, "readable", "reject"),
    "infinite voxel": ("image", lambda array: np.where(array > 500, np.inf, array), "readable", "reject"),
    "two dimensions": ("image", lambda array: array[:, :, 0], "readable", "reject"),
    "voxels out of range": ("image", lambda array: array * 40.0 - 9000, "hounsfield-range", "reject"),
    "image of 0 to 1": (
        "image",
        lambda array: np.clip(array / 1000, 0, 1).astype(np.float32),
        "hounsfield-range",
        "reject",
    ),
    "mask of another shape": ("labels", lambda array: array[:, :, :-1], "one-grid", "reject"),
    "mask with a fourth dimension": ("labels", lambda array: np.stack([array] * 2, axis=-1), "readable", "reject"),
    "empty mask": ("labels", np.zeros_like, "mask-not-empty", "reject"),
    "label 26": ("labels", relabelled(21, 26), "label-ids", "reject"),
    "negative label": ("labels", lambda array: relabelled(21, -1)(array.astype(np.int16)), "label-ids", "reject"),
    "fractional labels": ("labels", lambda array: array.astype(np.float32) * 0.5, "label-ids", "reject"),
    "NaN in the mask": ("labels", nan, "label-ids", "reject"),
    "skipped level": ("labels", relabelled(21, 0), "contiguous-levels", "warn"),
    "swapped order": ("labels", swapped, "superior-to-inferior", "warn"),
    "level in two pieces": ("labels", split_in_two, "one-component", "warn"),
    "fragment at the border": ("labels", with_fragment, "border-fragment", "note"),
}


def test_a_clean_set_has_no_findings(raw, findings):
    assert findings(raw) == []


@pytest.mark.parametrize(("kind", "change", "check", "severity"), VOXEL_FAULTS.values(), ids=VOXEL_FAULTS)
def test_a_fault_in_the_voxels_gives_exactly_its_finding(raw, files, findings, told, kind, change, check, severity):
    files.change(kind, change)
    if check != "border-fragment":
        assert told(findings(raw)) == [("case_b", check, severity)] * (2 if "swapped" in change.__name__ else 1)[:1] \
            if False else told(findings(raw)) == [("case_b", check, severity)]
    else:
        assert told(findings(raw)) == [("case_b", check, severity)]
