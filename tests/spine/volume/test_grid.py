"""Grids: spacing, orientation, and what is said of two that are not one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from spine.volume.grid import Grid

SHAPE = (20, 30, 40)


def affine(
    *, spacing: tuple[float, float, float] = (1.5, 1.5, 1.5), origin: tuple[float, float, float] = (-10.0, 5.0, 700.0),
    degrees: float = 0.0,
) -> NDArray[np.float64]:  # fmt: skip
    """An affine with spacing and origin in mm, turned about the third axis."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.diag(spacing)
    matrix[:3, 3] = origin
    return matrix


GRID = Grid.of(SHAPE, affine())


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Grid.of((20, 30, 41), affine()), "size (20, 30, 40) against (20, 30, 41)"),
        (Grid.of((30, 20, 40), affine()), "size (20, 30, 40) against (30, 20, 40)"),
        (Grid.of(SHAPE, affine(spacing=(1.5, 1.5, 1.5002))), "spacing (1.5, 1.5, 1.5) against (1.5, 1.5, 1.5002) mm"),
        (Grid.of(SHAPE, affine(origin=(-10, 5, 700.001))), "origin (-10.0, 5.0, 700.0) against (-10.0, 5.0, 700.001)"),
        (Grid.of(SHAPE, affine(degrees=90)), "direction RAS against"),
        (Grid.of(SHAPE, affine(degrees=0.01)), "direction RAS against RAS"),
        (Grid.of(SHAPE, affine() @ np.diag([1, 1, -1, 1.0])), "direction RAS against RAI"),
    ],
)
def test_a_difference_is_named_by_its_kind(other: Grid, told: str) -> None:
    assert (GRID.difference(other) or "").startswith(told)
    assert other.difference(GRID)


def test_a_tenth_of_the_tolerance_is_no_difference() -> None:
    near = Grid.of(SHAPE, affine(spacing=(1.50001, 1.5, 1.5), origin=(-10, 5.00001, 700)))
    assert GRID.difference(near) is None


@pytest.mark.parametrize("degrees", [0, 17, 90, 200])
def test_spacing_and_voxel_volume_do_not_depend_on_direction(degrees: float) -> None:
    grid = Grid.of(SHAPE, affine(spacing=(0.5, 1.25, 3.0), degrees=degrees))
    assert grid.spacing_mm == pytest.approx((0.5, 1.25, 3.0))
    assert grid.voxel_mm3 == pytest.approx(1.875)
    assert grid.is_orthonormal


def test_a_sheared_grid_is_not_orthonormal() -> None:
    sheared = affine()
    sheared[0, 2] += 0.01
    assert not Grid.of(SHAPE, sheared).is_orthonormal


@pytest.mark.parametrize(
    ("columns", "codes"), [((0, 1, 2), "RAS"), ((1, 2, 0), "ASR"), ((2, 0, 1), "SRA")]
)  # fmt: skip
def test_orientation_is_that_of_the_axes(columns: tuple[int, int, int], codes: str) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(columns)]
    assert Grid.of(SHAPE, matrix).orientation == codes


def test_millimetres_are_nibabels() -> None:
    from nibabel.affines import apply_affine

    matrix = affine(spacing=(0.5, 1.25, 3.0), degrees=30)
    index = np.array([[0.0, 0, 0], [3, 4, 5], [-1, 2.5, 9]])
    assert np.allclose(Grid.of(SHAPE, matrix).millimetres(index), apply_affine(matrix, index), atol=1e-12)


def test_grids_of_equal_numbers_are_equal_values() -> None:
    assert Grid.of(SHAPE, affine()) == GRID
    assert len({GRID, Grid.of(SHAPE, affine())}) == 1
