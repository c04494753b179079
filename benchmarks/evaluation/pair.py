"""A large reference label map and a prediction with plausible errors, written as many scans as a folder shall have."""

import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter, map_coordinates, zoom

from spine.phantom import make_scan
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume

SHAPE = (512, 512, 400)
SPACING_MM = (0.8, 0.8, 1.25)
DRAWN_AT_MM = (1.6, 1.6, 3.1)
SHIFT_MM = 1.2
SCANS = 8


def make_pair(folder: Path) -> None:
    """Write a reference with all 25 vertebrae, and a prediction with a wavy surface and five planted errors.

    The phantom is drawn at twice the voxel size and squeezed a little along the spine, so that all of it fits.
    """
    if (folder / "predictions" / "scan_0.nii.gz").is_file():
        return
    drawn = make_scan(seed=7, patient=1, first=1, last=25, spacing_mm=DRAWN_AT_MM).labels.array
    reference = fitted(drawn)
    prediction = wavy(reference, seed=1)
    prediction[prediction == 12] = 0  # missed
    prediction[prediction == 15] = 16  # merged with the next
    lower = np.zeros(SHAPE, dtype=bool)
    lower[:, :, : int(np.argwhere(prediction == 20)[:, 2].mean())] = True
    prediction[(prediction == 20) & lower] = 21  # split
    prediction[100:130, 100:130, 50:60] = 24  # far from the spine
    prediction[reference == 1] = 0  # cut off at the border
    grid = Grid.of(SHAPE, np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0]))
    for kind, array in (("references", reference), ("predictions", prediction)):
        write_volume(folder / kind / "scan_0.nii.gz", Volume(array=np.asfortranarray(array), grid=grid))
        for number in range(1, SCANS):
            (folder / kind / f"scan_{number}.nii.gz").hardlink_to(folder / kind / "scan_0.nii.gz")


def fitted(labels: np.ndarray) -> np.ndarray:
    """Double the bone along each axis and put it into the middle of the benchmark's shape."""
    bone = labels[find_objects((labels > 0).astype(np.uint8))[0]]
    for axis in range(3):
        bone = bone.repeat(2, axis=axis)
    bone = bone[tuple(slice(0, size) for size in SHAPE)]
    array = np.zeros(SHAPE, dtype=np.uint8)
    starts = [(size - edge) // 2 for size, edge in zip(SHAPE, bone.shape, strict=True)]
    array[tuple(slice(start, start + edge) for start, edge in zip(starts, bone.shape, strict=True))] = bone
    return array


def wavy(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Displace every voxel by a smooth random field with a deviation of 1.2 mm along each axis."""
    box = find_objects((labels > 0).astype(np.uint8))[0]
    bone, random = labels[box], np.random.default_rng(seed)
    coordinates = np.indices(bone.shape, dtype=np.float32)
    for axis, spacing_mm in enumerate(SPACING_MM):
        field = gaussian_filter(random.normal(size=[size // 8 for size in bone.shape]), 1.5)
        factors = [size / edge for size, edge in zip(bone.shape, field.shape, strict=True)]
        coordinates[axis] += zoom(field * (SHIFT_MM / spacing_mm / field.std()), factors, order=1)
    moved = np.zeros_like(labels)
    moved[box] = map_coordinates(bone, coordinates, order=0, mode="nearest")
    return moved


if __name__ == "__main__":
    make_pair(Path(sys.argv[1]))
