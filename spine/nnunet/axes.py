"""Where nnU-Net sees the anatomical axes of canonical data."""

from spine.nnunet.planning import array_order
from spine.recipe import AXES, Axis


def mirrored_axes(axes: tuple[Axis, ...], *, dimensions: int) -> tuple[int, ...]:
    """Return the array axes on which nnU-Net sees anatomical axes of canonical data.

    A 2-D network sees axial slices, which have no superior-inferior axis.
    """
    absent = 3 - dimensions
    return tuple(sorted(array_axis(axis) - absent for axis in axes if array_axis(axis) >= absent))


def array_axis(axis: str) -> int:
    """Return the array axis (0, 1, 2) on which nnU-Net sees an anatomical axis of canonical data."""
    return array_order((0, 1, 2)).index(AXES.index(axis))
