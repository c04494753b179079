"""Sheets: the pixels asked for, at the density asked for, as the same bytes each time."""

import io

import pytest
from PIL import Image

from spine.drawing.figures import Sheet


def _drawn(density: int) -> bytes:
    sheet = Sheet(width=120, height=80, density=density)
    sheet.axes(20, 10, 90, 50).plot([0, 1], [0, 1])
    return sheet.png()


@pytest.mark.parametrize("density", [1, 2])
def test_a_denser_sheet_has_more_pixels_of_the_same_picture(density: int) -> None:
    with Image.open(io.BytesIO(_drawn(density))) as image:
        assert image.size == (120 * density, 80 * density)
        # The axes' left spine lies where it was placed.
        assert min(image.convert("L").getpixel((20 * density + shift, 35 * density)) for shift in (-1, 0, 1)) < 128


def test_the_same_drawing_is_the_same_bytes() -> None:
    assert _drawn(2) == _drawn(2)
