"""A scan of a phantom patient: anatomy, field of view, spacing, orientation and noise made into two volumes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from spine.errors import InvalidValueError
from spine.phantom.anatomy import draw_patient
from spine.phantom.field_of_view import Setup, bounds, draw_setup
from spine.phantom.posture import stand
from spine.phantom.rendering import Canvas
from spine.phantom.skeleton import skeleton
from spine.phantom.soft_tissue import draw_body, organs
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

_SPACING_RANGE_MM: Final = (0.5, 10.0)
_AXES: Final = ("LR", "PA", "IS")


@dataclass(frozen=True)
class PhantomScan:
    """A CT ``image`` (int16 HU) and its ``labels`` (uint8 ids 0-25) on one grid."""

    image: Volume
    labels: Volume


def make_scan(
    *,
    seed: int,
    patient: int,
    scan: int = 0,
    first: int = 18,
    last: int = 25,
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 3.0),
    orientation: str = "RAS",
) -> PhantomScan:
    """Return one scan of one patient; the same arguments give identical arrays.

    ``seed`` and ``patient`` fix the anatomy; ``scan`` draws borders, position and noise anew. The field of view
    runs from about label ``first`` to about ``last``, borders cut through vertebrae. ``spacing_mm`` goes right,
    anterior, superior, whatever the axis codes of ``orientation`` that the arrays are stored in.

    Raises InvalidValueError for a negative number, a range of labels outside 1-25, a spacing outside 0.5-10 mm,
    or codes that do not name each of the three axes once.
    """
    _require_valid(seed=seed, patient=patient, scan=scan, spacing_mm=spacing_mm, orientation=orientation)
    setup = draw_setup(seed=seed, patient=patient, scan=scan, first=first, last=last)
    person = draw_patient(seed=seed, patient=patient)
    frames = stand(person)
    low, high = bounds(setup, person, frames)
    i, j, k = (max(round(float(size)), 1) for size in (high - low) / np.asarray(spacing_mm))
    to_scan = np.diag([*spacing_mm, 1.0])
    to_scan[:3, 3] = low
    to_patient = to_scan.copy()
    to_patient[:3] = setup.rotation.T @ to_scan[:3]
    canvas = Canvas.blank((i, j, k), to_patient=to_patient, edge_mm=float(np.mean(spacing_mm)))
    draw_body(canvas, person, frames)
    for solid in (*organs(person, frames), *skeleton(person, frames)):
        canvas.draw(solid)
    affine = to_scan.copy()
    affine[:3, 3] = setup.table_mm
    return PhantomScan(
        image=_stored(_noisy(canvas.image, setup), affine, orientation=orientation),
        labels=_stored(canvas.labels, affine, orientation=orientation),
    )


def _noisy(image: NDArray[np.float32], setup: Setup) -> NDArray[np.int16]:
    random = np.random.default_rng(setup.noise_seed)
    noise = random.standard_normal(image.shape, dtype=np.float32)
    # Reconstruction kernels correlate neighbouring voxels; the filter's loss of variance is made good.
    grain = np.asarray(gaussian_filter(noise, 0.5), dtype=np.float32)
    grain *= setup.noise_hu / max(float(grain.std()), 1e-6)
    blurred = np.asarray(gaussian_filter(image, 0.35), dtype=np.float32)
    hu: NDArray[np.int16] = np.clip(np.round(blurred + grain), -1024, 3071).astype(np.int16)
    return hu


def _stored(array: NDArray[np.int16] | NDArray[np.uint8], affine: NDArray[np.float64], *, orientation: str) -> Volume:
    transform = ornt_transform(axcodes2ornt(("R", "A", "S")), axcodes2ornt(tuple(orientation)))
    stored = np.ascontiguousarray(apply_orientation(array, transform))
    return Volume(array=stored, grid=Grid.of(stored.shape, affine @ inv_ornt_aff(transform, array.shape)))


def _require_valid(
    *, seed: int, patient: int, scan: int, spacing_mm: tuple[float, float, float], orientation: str
) -> None:
    for name, value in (("seed", seed), ("patient", patient), ("scan", scan)):
        if value < 0:
            raise InvalidValueError(name, value, expected="a whole number of 0 or more")
    low, high = _SPACING_RANGE_MM
    if len(spacing_mm) != 3 or not all(low <= edge <= high for edge in spacing_mm):
        raise InvalidValueError("spacing_mm", spacing_mm, expected=f"three edge lengths of {low}-{high} mm")
    if len(orientation) != 3 or any(sum(code in axis for code in orientation) != 1 for axis in _AXES):
        raise InvalidValueError("orientation", orientation, expected="three axis codes such as RAS, LPS or PIR")
